return require "appliance.cli.action"("stop", "Stops a service; it stays down until it is started, or until the node starts anew.")
