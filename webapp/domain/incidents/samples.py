"""Sample incidents for the try-it page as JSON. They are realistic but invented, and the built-in rules recognize each of them."""

from collections.abc import Mapping
from dataclasses import dataclass

from webapp.domain.incidents.alertmanager import incident_from_payload
from webapp.domain.incidents.incidents import Incident


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample. `data` is the JSON that a user would paste."""

    slug: str
    label: str
    summary: str
    data: Mapping[str, object]

    def incident(self) -> Incident:
        return incident_from_payload(self.data)


def _alert(name: str, description: str, **labels: str) -> dict[str, object]:
    return {"name": name, "description": description, "labels": labels}


SAMPLES: tuple[Sample, ...] = (
    Sample(
        "memory-oom",
        "Out of memory",
        "A worker is killed by the kernel again and again",
        {
            "title": "Report worker killed: out of memory",
            "severity": "critical",
            "status": "open",
            "description": "The kernel's OOM killer ended report-worker three times since 02:10 UTC. "
            "Memory grew steadily after release 4.18.",
            "alerts": [
                _alert("HostOutOfMemory", "Only 3 % of the memory is available on app-7", instance="app-7:9100"),
                _alert("ContainerOOMKilled", "report-worker was OOM-killed", container="report-worker"),
            ],
            "metadata": {"host": "app-7.internal", "memory": {"used_mb": 31130, "total_mb": 32094}, "release": "4.18.0"},
        },
    ),
    Sample(
        "disk-full",
        "Disk almost full",
        "The volume of a database fills by the hour",
        {
            "title": "Disk usage above 95 % on db-primary",
            "severity": "critical",
            "status": "open",
            "description": "Filesystem /var/lib/postgresql is 97% full and grows by 2 GB per hour since the nightly export.",
            "alerts": [_alert("DiskSpaceLow", "3 % of the disk is left on /var/lib/postgresql", mountpoint="/var/lib/postgresql")],
            "metadata": {"host": "db-primary.internal", "path": "/var/lib/postgresql", "used_percent": 97},
        },
    ),
    Sample(
        "inodes",
        "No inodes left",
        "Space is free, and still nothing can be written",
        {
            "title": "No space left on device, although half of the disk is free",
            "severity": "warning",
            "status": "acknowledged",
            "description": "Sessions can no longer be written on web-2. df shows 48 % used, but inode usage is 100% on /var.",
            "alerts": [_alert("NodeFilesystemFilesFillingUp", "Inodes on /var are used up", instance="web-2:9100")],
            "metadata": {"host": "web-2.internal", "path": "/var", "inodes_used_percent": 100},
        },
    ),
    Sample(
        "quota",
        "Quota exceeded",
        "A team can no longer save to its share",
        {
            "title": "Disk quota exceeded on /srv/research",
            "severity": "warning",
            "status": "open",
            "description": "Users of group research get “Disk quota exceeded”. The group uses 1980 GB of 2000 GB.",
            "alerts": [],
            "metadata": {"host": "files-1.internal", "path": "/srv/research", "group": "research"},
        },
    ),
    Sample(
        "cpu-load",
        "Load far above the cores",
        "An application server answers slowly under load",
        {
            "title": "CPU load average at 64 on 8 cores",
            "severity": "critical",
            "status": "open",
            "description": "app-3 answers in 9 s instead of 0.3 s since the release at 14:05. "
            "All workers compute; disk and network are idle.",
            "alerts": [_alert("HostHighCpuLoad", "CPU usage is 99 % for 15 minutes", instance="app-3:9100")],
            "metadata": {"host": "app-3.internal", "load_average": [64.2, 58.9, 31.0], "cores": 8},
        },
    ),
    Sample(
        "crash-loop",
        "Crash loop",
        "A service does not survive its start",
        {
            "title": "Payment service in a crash loop",
            "severity": "critical",
            "status": "open",
            "description": "The pod restarted 14 times in 20 minutes with exit code 1 after its configuration changed: "
            "“KeyError: 'SETTLEMENT_URL'”.",
            "alerts": [_alert("KubePodCrashLooping", "payment-7d9f restarted 14 times", namespace="payment", pod="payment-7d9f")],
            "metadata": {"namespace": "payment", "restarts": 14, "exit_code": 1},
        },
    ),
    Sample(
        "packet-loss",
        "Packet loss",
        "Latency and losses between two sites",
        {
            "title": "Network latency between Prague and Frankfurt",
            "severity": "warning",
            "status": "open",
            "description": "Round trips take 180 ms instead of 12 ms since 09:40 UTC, packet loss is 6 %. "
            "mtr shows it from the third hop on.",
            "alerts": [_alert("BlackboxProbeSlow", "Probes to fra-gw time out now and then", target="fra-gw")],
            "metadata": {"from": "prg-gw", "to": "fra-gw", "packet_loss_percent": 6, "latency_ms": 180},
        },
    ),
    Sample(
        "certificate",
        "Certificate expires",
        "The automatic renewal has failed",
        {
            "title": "Certificate of api.example.com expires in 2 days",
            "severity": "warning",
            "status": "open",
            "description": "The ACME renewal fails with “DNS problem: NXDOMAIN looking up TXT for _acme-challenge.api.example.com”.",
            "alerts": [_alert("SSLCertExpiringSoon", "The TLS certificate expires in 2 days", instance="api.example.com:443")],
            "metadata": {"host": "api.example.com", "certificate_days_left": 2},
        },
    ),
    Sample(
        "database-connections",
        "Connections and replication",
        "The database refuses clients, a replica falls behind",
        {
            "title": "PostgreSQL: too many connections, replica behind",
            "severity": "critical",
            "status": "open",
            "description": "498 of 500 connections are in use, most of them idle in transaction. Replication lag is 340 seconds on db-2.",
            "alerts": [
                _alert("PostgresqlTooManyConnections", "498 of 500 connections are taken", instance="db-1:9187"),
                _alert("PostgresqlReplicationLag", "db-2 is behind: lag 340 s", instance="db-2:9187"),
            ],
            "metadata": {"host": "db-1.internal", "connections": 498, "max_connections": 500, "replication_lag_seconds": 340},
        },
    ),
    Sample(
        "this-host",
        "This very host",
        "How is the machine that runs Modeldesk? Looked at when it runs",
        {
            "title": "Is memory, disk or CPU short on the host of Modeldesk?",
            "severity": "info",
            "status": "open",
            "description": "A look at the machine that runs Modeldesk itself. The local rules read its own numbers.",
            "alerts": [],
            "metadata": {"host": "localhost", "this_host": True},
        },
    ),
    Sample(
        "unknown",
        "Nothing known",
        "No words or numbers that the rules recognise",
        {
            "title": "Customers report wrong totals on invoices",
            "severity": "warning",
            "status": "open",
            "description": "Since this morning some invoices show the sum of the previous month.",
            "alerts": [],
            "metadata": {"team": "billing", "reports": 4},
        },
    ),
    Sample(
        "alertmanager",
        "Alertmanager webhook",
        "A payload as Alertmanager sends it",
        {
            "version": "4",
            "groupKey": '{}:{alertname="NodeFilesystemAlmostOutOfSpace"}',
            "truncatedAlerts": 0,
            "status": "firing",
            "receiver": "modeldesk",
            "externalURL": "http://alertmanager.example.com:9093",
            "groupLabels": {"alertname": "NodeFilesystemAlmostOutOfSpace"},
            "commonLabels": {"alertname": "NodeFilesystemAlmostOutOfSpace", "severity": "critical", "job": "node", "device": "/dev/sda2"},
            "commonAnnotations": {"summary": "Filesystem has less than 3% space left."},
            "alerts": [
                {
                    "status": "firing",
                    "labels": {"alertname": "NodeFilesystemAlmostOutOfSpace", "instance": f"web-{number}:9100", "severity": "critical"},
                    "annotations": {
                        "description": f"Filesystem on /dev/sda2 at web-{number} has only {left}% available space left.",
                        "runbook_url": "https://runbooks.example.com/node/nodefilesystemalmostoutofspace",
                    },
                    "startsAt": "2026-11-20T22:14:07.511Z",
                    "endsAt": "0001-01-01T00:00:00Z",
                    "fingerprint": f"a1b2c3d4e5f6070{number}",
                    "generatorURL": "http://prometheus.example.com:9090/graph?g0.expr=node_filesystem_avail_bytes",
                }
                for number, left in ((1, "2.41"), (2, "1.87"))
            ],
        },
    ),
)

SAMPLES_BY_SLUG: Mapping[str, Sample] = {sample.slug: sample for sample in SAMPLES}
