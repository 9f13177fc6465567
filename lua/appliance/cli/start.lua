return require "appliance.cli.action"("start", "Starts a service that was stopped.")
