"""The runbook: steps that the built-in rules recommend for each kind of problem, most urgent first."""

from collections.abc import Mapping

ACTIONS: Mapping[str, tuple[str, ...]] = {
    "memory": (
        "List the largest consumers: ps -eo pid,comm,rss,%mem --sort=-rss | head -15",
        "Look for kills by the kernel: journalctl -k | grep -iE 'out of memory|oom'",
        "Compare the memory of the suspect with an hour and a day ago: steady growth is a leak, a step is load or a release",
        "Restart or scale the largest service in a safe moment, and set a memory limit so that one service cannot take the host",
        "Add memory or move a service only after the growth is understood",
    ),
    "disk": (
        "See which file system is full: df -h",
        "Find what grew: du -xh --max-depth=2 <mount point> | sort -h | tail -20",
        "Look for deleted files that are still held open: lsof +L1",
        "Free space safely: rotate and compress logs, clear package and build caches, move old backups elsewhere",
        "Extend the volume or set a quota, and alert at 80 % so that there is time to act",
    ),
    "inodes": (
        "See which file system has no inodes left: df -i",
        "Find the directory with the most files: du --inodes -x --max-depth=3 <mount point> | sort -n | tail -20",
        "Remove expired sessions, caches and mail queues in batches, and fix what creates them",
    ),
    "quota": (
        "See whose quota is used up: repquota -s <mount point> (or the quota view of the storage system)",
        "Ask the owner to clear or archive, or raise the quota on purpose",
    ),
    "cpu": (
        "See what runs: top -b -n1 -o %CPU | head -20",
        "Tell work from waiting: a high load with idle processors is disk or network wait (vmstat 1 5)",
        "Compare with the last release, the last scheduled jobs and the request rate: roll back or pause what changed",
        "Check for throttling: cpu.stat of the control group, or the limits of the container",
        "Spread the work, or add cores once it is known to be wanted work",
    ),
    "process": (
        "Read why it ended: journalctl -u <service> -n 100, or the log of the container's previous run",
        "Read the exit code: 137 is a kill (often memory), 139 a segmentation fault, 1 the program's own error",
        "Compare with the last release and configuration change; roll back if it began there",
        "Stop the restart loop if it does harm (queues, data), and start one instance by hand to see it fail",
    ),
    "network": (
        "Tell where it stops: ping, then mtr --report <host>, from both ends",
        "Check names and ports apart: getent hosts <host>; nc -vz <host> <port>",
        "Look for errors and drops on the interface: ip -s link",
        "Ask what changed: firewall rules, routes, load balancer, provider status page",
    ),
    "certificate": (
        "See what is served and until when: openssl s_client -connect <host>:443 -servername <host> </dev/null"
        " | openssl x509 -noout -dates -subject",
        "Renew it now, by hand if the automatic renewal failed, and reload every service that holds it",
        "Find out why the renewal failed, and alert 30 days before the end",
    ),
    "dns": (
        "Ask each resolver by itself: dig +short <name> @<resolver>",
        "Compare with the authoritative servers: dig +trace <name>",
        "Check the resolver's own health and the caches' time to live before changing records",
    ),
    "database": (
        "See what it is doing: pg_stat_activity (or SHOW FULL PROCESSLIST), longest running first",
        "Look for what blocks others: pg_locks joined with pg_stat_activity (or the InnoDB status)",
        "Compare open connections with the limit; close idle ones, and put a pool in front",
        "Check the replicas: lag, disk space for the write-ahead log, and the network between them",
        "End a runaway query only after reading it, and tell its owner",
    ),
    "general": (
        "Say what is broken for whom, since when, and how it can be seen; write it into the incident",
        "List what changed in the hour before: releases, configuration, certificates, scheduled jobs, providers",
        "Look at the four signals of the affected service: traffic, errors, latency, saturation",
        "Undo the most likely change, or move traffic away, before looking for the root cause",
        "Name one person who decides, and say when the next update comes",
    ),
}

LABELS: Mapping[str, str] = {
    "memory": "Memory",
    "disk": "Disk",
    "cpu": "CPU",
    "process": "Process",
    "network": "Network",
    "database": "Database",
}
