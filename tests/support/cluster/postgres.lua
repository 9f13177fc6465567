--- A real PostgreSQL on a host of its own, for the metastore that all SQL servers of a cluster share, and the hive-site.xml that says so.
---   local metastore = postgres.start(yard)
---   settings.HIVE_SITE_XML = metastore:site("/shared/warehouse"); settings.EXT_JARS = postgres.driver()
local hosts = require "cluster.hosts"

local postgres = {}
local methods = {}
methods.__index = methods

local NUMBER <const> = 31                                     -- the last part of its address

local SCRIPT <const> = [[
set -eu
data=%s/data
as() { setpriv --reuid=postgres --regid=postgres --clear-groups -- "$@"; }
cd /
if [ ! -d "$data" ]; then
  install -d -o postgres -m 700 "$data"
  as %s/initdb -D "$data" -U hive -A trust --no-sync --locale=C.UTF-8 >/dev/null
  echo 'host all all 0.0.0.0/0 trust' >>"$data/pg_hba.conf"
  # Nobody's data: the disk is memory.
  printf '%%s\n' "listen_addresses='*'" "unix_socket_directories='/tmp'" fsync=off shared_buffers=32MB max_connections=200 \
    >>"$data/postgresql.conf"
fi
exec setpriv --reuid=postgres --regid=postgres --clear-groups -- %s/postgres -D "$data"
]]

--- The JDBC driver, as dev.d/jars-postgresql pins it -> path | nil
function postgres.driver() return os.getenv "POSTGRES_DRIVER" end

function postgres.start(yard)
  local pipe = assert(io.popen "ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1")
  local programs = pipe:read "l"
  pipe:close()
  if not programs then error("no PostgreSQL here: apt-get install postgresql-15", 2) end
  local self = setmetatable({ host = yard:host("postgres", NUMBER), programs = programs }, methods)
  self.host:start({ "sh", "-c", SCRIPT:format(self.host.folder, programs, programs) })
  hosts.await("PostgreSQL", function() return self:answers() end, 60, 0.1)
  assert(self:query "create database metastore")
  self:make_tables()
  return self
end

function methods:answers()
  return select(3, os.execute(("%s/pg_isready -q -t 1 -h %s"):format(self.programs, self.host.address))) == 0
end

-- A metastore that makes its tables as it goes (datanucleus.schema.autoCreateAll) locks itself out on PostgreSQL: one connection waits for
-- what the other one's open transaction holds. So they are made before, by the same library from the same description.
local TABLES <const> = [[
cd "$TMPDIR"
python3 -BIS -c 'import sys, zipfile
open("package.jdo", "wb").write(zipfile.ZipFile(sys.argv[1]).read("package.jdo"))' "$SPARK_HOME"/jars/hive-metastore-*.jar
printf '%s\n' javax.jdo.option.ConnectionURL=jdbc:postgresql://$ADDRESS/metastore \
  javax.jdo.option.ConnectionDriverName=org.postgresql.Driver \
  javax.jdo.option.ConnectionUserName=hive javax.jdo.option.ConnectionPassword=hive datanucleus.identifierFactory=datanucleus1 \
  datanucleus.schema.autoCreateAll=true datanucleus.rdbms.useLegacyNativeValueStrategy=true >metastore.properties
exec java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$SPARK_HOME/jars/*:$POSTGRES_DRIVER" org.datanucleus.store.schema.SchemaTool \
  -create -api JDO -props metastore.properties package.jdo
]]

function methods:make_tables()
  local code, output = hosts.run({ "sh", "-euc", TABLES }, { ADDRESS = self.host.address, TMPDIR = os.getenv "TMPDIR",
    SPARK_HOME = os.getenv "SPARK_HOME", POSTGRES_DRIVER = postgres.driver(), PYENV_ROOT = os.getenv "PYENV_ROOT" })
  if code ~= 0 then error("no tables of a metastore: " .. output, 2) end
end

--- psql on its host -> output | nil, output
function methods:query(statement, database)
  local code, output = self.host:run { self.programs .. "/psql", "-h", "127.0.0.1", "-U", "hive", "-d", database or "postgres", "-Atc",
    statement }
  if code ~= 0 then return nil, output end
  return output
end

--- -> path of a hive-site.xml that names this metastore
function methods:site(warehouse)
  local path = os.getenv "TMPDIR" .. "/hive-site.xml"
  local out <close> = assert(io.open(path, "w"))
  out:write "<configuration>\n"
  for name, value in pairs {
    ["javax.jdo.option.ConnectionURL"] = "jdbc:postgresql://" .. self.host.address .. "/metastore",
    ["javax.jdo.option.ConnectionDriverName"] = "org.postgresql.Driver",
    ["javax.jdo.option.ConnectionUserName"] = "hive",
    ["javax.jdo.option.ConnectionPassword"] = "hive",
    ["hive.metastore.warehouse.dir"] = warehouse,
    ["hive.metastore.schema.verification"] = "false",
    ["datanucleus.schema.autoCreateAll"] = "false",
  } do out:write(("<property><name>%s</name><value>%s</value></property>\n"):format(name, value)) end
  out:write "</configuration>\n"
  return path
end

return postgres
