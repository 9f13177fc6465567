return require "appliance.cli.action"("restart",
  "Stops a service in its orderly way and starts it again; also brings back one that failed for good.")
