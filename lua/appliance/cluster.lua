--- The word `cluster` of a profile: what is known of the masters of a cluster. Loaded function by function.
local cluster = {}

--- A fact: this node joins the cluster that ZOOKEEPER and CLUSTER_NAME name -> { masters, uri, zookeeper, dir, waits, why }
function cluster.membership() return require("appliance.cluster.membership").source() end

--- A fact: masters that are given by MASTER_URI, a stack, or this node's own -> { uri, masters, answers }
function cluster.masters() return require("appliance.cluster.elsewhere").source() end

return cluster
