--- What a node of a cluster with several masters says to Spark: recovery in ZooKeeper, and what that takes. Pure.
--- cluster (the fact of the profile `ha`, see cluster/membership.lua): { masters = {...}, uri = "spark://a:7077,b:7077" or nil,
---   zookeeper = "127.0.0.1:40001/chroot" (our relay's, or the servers themselves), dir = "/spark-appliance/NAME/spark/4.1.1",
---   name = CLUSTER_NAME, waits = a sentence or nil, sql = does this node's THRIFT_PORT lead to the SQL server }
local ha = {}

--- A master that waits for a worker or an application it finds recorded places nothing until it has given that one up. The records of a
--- dead node are removed before the next master is elected (cluster/undertaker.lua), so what is waited for here is alive, and may be
--- collecting garbage: at 1 s a driver paused for 4 s was taken for finished. 3.5 has no such key, and waits for the worker time-out.
local RECOVERY <const> = "20s"

--- Keys of spark-defaults.conf, for a node that runs a master.
function ha.keys(cluster)
  return {
    ["spark.deploy.recoveryMode"] = "ZOOKEEPER",
    ["spark.deploy.zookeeper.url"] = cluster.zookeeper,
    ["spark.deploy.zookeeper.dir"] = cluster.dir,
    ["spark.deploy.recoveryTimeout"] = RECOVERY,
  }
end

--- Where a master keeps its latch must be where its node looks for it: with another place a dead leader would be missed for as long as
--- its session lasts, and two clusters could share one.
local OURS = { "spark.deploy.recoveryMode", "spark.deploy.zookeeper.url", "spark.deploy.zookeeper.dir", "spark.deploy.recoveryDirectory",
               "spark.deploy.recoveryMode.factory" }

--- -> a sentence with the cure, nil when nothing is wrong. options: the JVM options of settings, { NAME = text }; mounted(key) -> value.
function ha.fault(options, mounted)
  for _, key in ipairs(OURS) do
    for _, name in ipairs { "SPARK_DAEMON_JAVA_OPTS", "SPARK_MASTER_OPTS" } do
      if (options[name] or ""):find("-D" .. key .. "=", 1, true) then
        return ("%s: -D%s is what the profile ha says itself (ZOOKEEPER, CLUSTER_NAME): take it out of there"):format(name, key)
      end
    end
    local value = mounted(key)
    if value and not (key == "spark.deploy.recoveryMode" and value:upper() == "ZOOKEEPER") then
      return ("spark-defaults.conf: %s is what the profile ha says itself (ZOOKEEPER, CLUSTER_NAME): take it out of your file"):format(key)
    end
  end
end

--- The catalog of SQL, and its tables, must be where every node can read them: the server that answers may be another's tomorrow.
--- site: text of hive-site.xml or nil; warehouse: spark.sql.warehouse.dir of mounted files or nil -> a sentence, nil: all is well
function ha.catalog_note(site, warehouse)
  local function value_of(name)
    return site and site:match("<name>%s*" .. name:gsub("%.", "%%.") .. "%s*</name>%s*<value>%s*(.-)%s*</value>")
  end
  local uris, url = value_of "hive.metastore.uris", value_of "javax.jdo.option.ConnectionURL"
  local has_metastore = uris and uris ~= "" or url and not url:find "^jdbc:derby:[^/]"
  warehouse = warehouse or value_of "hive.metastore.warehouse.dir"
  local has_warehouse = warehouse and not warehouse:find "^file:" and not warehouse:find "^/"
  if has_metastore and (has_warehouse or uris and uris ~= "") then return nil end
  local missing = has_metastore and "warehouse (hive.metastore.warehouse.dir)"
    or has_warehouse and "metastore (hive.metastore.uris, or javax.jdo.option.ConnectionURL of a database)"
    or "metastore and warehouse"
  return ("SQL's tables will vanish with the node: no %s that all nodes share. Give HIVE_SITE_XML a hive-site.xml with "
    .. "hive.metastore.uris (or a database's javax.jdo.option.ConnectionURL), and a warehouse on s3a:// or another file system of all "
    .. "nodes"):format(missing)
end

return ha
