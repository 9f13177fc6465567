-- Nodes that lack something or have it wrong: room on the disk, a reader of the log, file descriptors, ports, the time of day
-- (tests/support/cluster/strains.lua), on one cluster that all of it happens to in turn. Takes long: with --soak only, or by CLUSTER_ONLY.
local cluster = require "cluster.cluster"
local play = require "cluster.play"
local strains = require "cluster.strains"

describe("a cluster of nodes that are short of something", function()
  local it_

  setup(function() it_ = cluster.make { kind = "ours", sql = true, short = true } end)
  teardown(function()
    if it_ then
      it_:keep_logs "strain"
      it_:__close()
    end
  end)

  for _, scenario in ipairs(strains) do
    if play.is_asked_for(play.name(scenario)) ~= false then it(play.name(scenario), function() play.scenario(it_, scenario) end) end
  end
end)
