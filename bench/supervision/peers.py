"""How each supervisor is told to run COUNT times the same child: files to write, command to start, command to stop one."""
import os
import shutil


class Peer:
    many = True     # can run more than one child
    captures = True # can take a child's output into a rotated file
    restarts = True

    def __init__(self, name, program):
        self.name, self.program = name, program

    def missing(self):
        return None if shutil.which(self.program) else f"{self.program} is not installed"

    def environment(self, folder):
        return {}

    def stop_one(self, folder, service):
        return None


def executable(path, text):
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o755)


class OneChild(Peer):
    many = captures = restarts = False

    def __init__(self, name, *options):
        super().__init__(name, name)
        self.options = options

    def start(self, folder, child, count, log):
        return [self.program, *self.options, child]


class Floor(Peer):
    def start(self, folder, child, count, log):
        return [self.program, str(count), child] + ([f"{folder}/log"] if log else [])


class ServiceFolders(Peer):
    """s6 and runit: a directory for each service, `run` in it, and `log/run` for its logger."""

    def __init__(self, name, program, logger, stop):
        super().__init__(name, program)
        self.logger, self.stop = logger, stop

    def start(self, folder, child, count, log):
        scan = f"{folder}/scan"
        for i in range(count):
            service = f"{scan}/s{i}"
            os.makedirs(service)
            os.symlink(child, f"{service}/run")
            if log:
                os.makedirs(f"{service}/log/main")
                if self.program == "runsvdir":
                    with open(f"{service}/log/main/config", "w") as file:
                        file.write("s1000000\nn4\n")
                executable(f"{service}/log/run", f"#!/bin/sh\nexec {self.logger} {service}/log/main\n")
        return [self.program, scan]

    def stop_one(self, folder, service):
        return [*self.stop, f"{folder}/scan/s{service}"]


class Supervisord(Peer):
    def start(self, folder, child, count, log):
        lines = [
            "[supervisord]", "nodaemon=true", f"logfile={folder}/supervisord.log", f"pidfile={folder}/pid", "minfds=4096",
            "[unix_http_server]", f"file={folder}/sock",
            "[supervisorctl]", f"serverurl=unix://{folder}/sock",
            "[rpcinterface:supervisor]", "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
        ]
        for i in range(count):
            lines += [f"[program:s{i}]", f"command={child}", "autorestart=true", "redirect_stderr=true", "stdout_logfile_backups=4",
                      "stdout_logfile_maxbytes=1MB", f"stdout_logfile={folder}/s{i}.log" if log else "stdout_logfile=NONE"]
        with open(f"{folder}/conf", "w") as file:
            file.write("\n".join(lines) + "\n")
        return [self.program, "-c", f"{folder}/conf"]

    def stop_one(self, folder, service):
        return ["supervisorctl", "-c", f"{folder}/conf", "stop", f"s{service}"]


class Dinit(Peer):
    def start(self, folder, child, count, log):
        os.makedirs(f"{folder}/dinit")
        for i in range(count):
            lines = ["type = process", f"command = {child}", "restart = true", "restart-delay = 0", "restart-limit-count = 0"]
            if os.environ.get("MODE") == "crash":
                lines = lines[:3]
            if log:
                lines.append(f"logfile = {folder}/s{i}.log")
            with open(f"{folder}/dinit/s{i}", "w") as file:
                file.write("\n".join(lines) + "\n")
        with open(f"{folder}/dinit/boot", "w") as file:
            file.write("type = internal\n" + "".join(f"waits-for = s{i}\n" for i in range(count)))
        return [self.program, "-d", f"{folder}/dinit", "-p", f"{folder}/ctl"]

    def stop_one(self, folder, service):
        return ["dinitctl", "-p", f"{folder}/ctl", "stop", f"s{service}"]


class Appliance(Peer):
    def start(self, folder, child, count, log):
        os.makedirs(f"{folder}/profiles")
        os.makedirs(f"{folder}/state")
        sink = '{ file = "%s/s" .. i .. ".log", size = 1000000, keep = 4, full = "block", console = false }' % folder if log else "nil"
        backoff = "nil" if os.environ.get("MODE") == "crash" else "{ min = 0 }" # the default keeps a crash loop slow
        with open(f"{folder}/profiles/plain.lua", "w") as file:
            file.write(f"""return profile {{
  doc = "The children of a benchmark.", settings = {{}}, facts = {{}},
  plan = function()
    local services = {{}}
    for i = 0, {count - 1} do
      services[#services + 1] = service {{
        name = "s" .. i, command = {{ "{child}" }}, backoff = {backoff}, log = {sink},
        env = {{ STAMP = "{os.environ['STAMP']}", MODE = "{os.environ.get('MODE', '')}",
                 SIZE = "{os.environ.get('SIZE', '')}", TOTAL = "{os.environ.get('TOTAL', '')}" }},
      }}
    end
    return plan {{ services = services }}
  end,
}}
""")
        return [self.program, "run"]

    def environment(self, folder):
        return {"PROFILE": "plain", "APPLIANCE_PROFILES": f"{folder}/profiles", "STATE_DIR": f"{folder}/state"}

    def stop_one(self, folder, service):
        return [self.program, "stop", f"s{service}"]


def all_peers(out, appliance):
    return [
        Floor("floor", f"{out}/floor"),
        Appliance("appliance", appliance),
        OneChild("tini", "-s"),
        OneChild("dumb-init"),
        OneChild("catatonit"),
        ServiceFolders("s6", "s6-svscan", "s6-log -b n4 s1000000", ["s6-svc", "-wD", "-T", "9000", "-d"]),
        ServiceFolders("runit", "runsvdir", "svlogd", ["sv", "-w", "9", "down"]),
        Supervisord("supervisord", "supervisord"),
        Dinit("dinit", "dinit"),
        Peer("nitro", "nitro"),
    ]
