--- The word `cluster` of a profile: what is known of the masters of a cluster. Loaded function by function.
local cluster = {}

--- A fact: this node joins the cluster that ZOOKEEPER and CLUSTER_NAME name -> { masters, uri, zookeeper, dir, waits, why }
function cluster.membership() return require("appliance.cluster.membership").source() end

return cluster
