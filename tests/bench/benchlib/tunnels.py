"""The proxies that tunnels and interception are compared with: Squid and Apache Traffic Server, set up to
do that and nothing else that costs: no cache, no logs, one thread."""

import os
import shutil

from .machine import find_program
from .proxies import KINDS, Proxy


class Squid(Proxy):
    """Swaps the token for the one of token 0: a constant is what it can do by itself."""

    name = "squid"
    listener = ""  # what http_port says more
    more = ""

    def swap(self):
        if self.fleet.purpose == "tunnel":
            return ""
        return ("request_header_access Authorization deny all\n"
                f"request_header_replace Authorization Bearer {self.bench.token(0)}\n")

    def prepare(self):
        if os.geteuid() == 0:  # it gives up root at once
            shutil.chown(self.directory, "proxy")
            for parent in (self.fleet.directory, self.bench.directory):
                os.chmod(parent, 0o711)
        path = self.write("squid.conf", f"""\
http_port 127.0.0.1:{self.port}{self.listener}
http_access allow all
cache deny all
cache_mem 8 MB
access_log none
cache_log /dev/null
cache_store_log none
logfile_rotate 0
pid_filename none
coredump_dir {self.directory}
netdb_filename none
pinger_enable off
via off
forwarded_for delete
max_filedescriptors {min(self.bench.max_files, 16384)}
shutdown_lifetime 1 second
hosts_file /etc/hosts
read_ahead_gap 64 KB
{self.swap()}{self.more}""")
        return [find_program("squid"), "-N", "-f", path]


class SquidBump(Squid):
    """ssl_bump, client first: the destination is called when a request comes, over connections that are
    kept and shared. The certificate is made by its helper, without a store on disk, and kept in memory;
    the leaf's key is the authority's own, on P-256 too."""

    name = "squid-bump"
    rules = "ssl_bump bump all\n"

    def prepare(self):
        made = self.bench.authority()
        self.listener = (f" ssl-bump tls-cert={made.ca} tls-key={made.ca_key} "
                         "generate-host-certificates=on dynamic_cert_mem_cache_size=64MB")
        self.more = ("sslcrtd_program /usr/lib/squid/security_file_certgen\n"
                     "sslcrtd_children 1 startup=1 idle=1\n"
                     f"tls_outgoing_options cafile={made.ca}\n{self.rules}")
        return super().prepare()


class SquidStare(SquidBump):
    """ssl_bump as its manual advises: the destination's certificate is looked at first and imitated, over
    a connection for each client."""

    name = "squid-stare"
    rules = "acl step1 at_step SslBump1\nssl_bump stare step1\nssl_bump bump all\n"


class TrafficServer(Proxy):
    name = "trafficserver"

    def prepare(self):
        paths = {"sysconfdir": "etc", "runtimedir": "run", "logdir": "log", "cachedir": "cache",
                 "localstatedir": "var", "datadir": "data"}
        shutil.copytree("/etc/trafficserver", os.path.join(self.directory, "etc"),
                        dirs_exist_ok=True)
        for name in paths.values():
            os.makedirs(os.path.join(self.directory, name), exist_ok=True)
        self.write("etc/storage.config", f"{self.directory}/cache 16M\n")
        self.write("etc/records.config", f"""\
CONFIG proxy.config.admin.user_id STRING #-1
CONFIG proxy.config.http.server_ports STRING {self.port}:ipv4:ip-in=127.0.0.1
CONFIG proxy.config.http.connect_ports STRING *
CONFIG proxy.config.http.cache.http INT 0
CONFIG proxy.config.reverse_proxy.enabled INT 0
CONFIG proxy.config.url_remap.remap_required INT 0
CONFIG proxy.config.exec_thread.autoconfig.enabled INT 0
CONFIG proxy.config.exec_thread.limit INT {self.fleet.workers}
CONFIG proxy.config.accept_threads INT 0
CONFIG proxy.config.log.logging_enabled INT 0
CONFIG proxy.config.http.insert_request_via_str INT 0
CONFIG proxy.config.http.insert_response_via_str INT 0
CONFIG proxy.config.diags.debug.enabled INT 0
CONFIG proxy.config.crash_log_helper STRING NULL
""")
        root = self.write("runroot.yaml", "prefix: {0}\nexec_prefix: {0}\nbindir: /usr/bin\n"
                          "sbindir: /usr/sbin\nincludedir: /usr/include\nlibdir: /usr/lib\n"
                          "libexecdir: /usr/lib/trafficserver/modules\n{1}".format(
                              self.directory, "".join(f"{k}: {self.directory}/{v}\n"
                                                      for k, v in paths.items())))
        return [find_program("traffic_server"), f"--run-root={root}"]


KINDS.update({kind.name: kind for kind in (Squid, SquidBump, SquidStare, TrafficServer)})
