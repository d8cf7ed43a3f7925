"""Spellings of addresses that no driver may reach: of this machine, and of others that are only ever resolved by recorders."""

LOOPBACK = [
    "127.0.0.1", "127.0.0.2", "127.1", "127.0.1", "0", "0.0.0.0", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001",
    "localhost", "LOCALHOST", "localhost.", "localhost.localdomain", "ip6-localhost", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "①②⑦.⓪.⓪.①", "ⓛocalhost", "127。0。0。1",
    "user@127.0.0.1", "api.openai.com@127.0.0.1",
    "127.0.0.1\\@api.openai.com", "api.openai.com\\@127.0.0.1", "127.0.0.1%2f@api.openai.com", "127.0.0.1#api.openai.com", "127.0.0.1?x",
    "%31%32%37.0.0.1", "127.0.0.1%00", " 127.0.0.1", "127.0.0.1 ", "127.0.0.1\t",
]  # fmt: skip
ELSEWHERE = [
    "169.254.169.254", "2852039166", "0xA9FEA9FE", "0251.0376.0251.0376", "[::ffff:a9fe:a9fe]", "[::ffff:169.254.169.254]", "169.254.170.2",
    "100.100.100.200", "100.64.0.1", "192.0.0.192", "[fd00:ec2::254]", "metadata.google.internal", "metadata", "10.0.0.1", "172.16.0.1",
    "192.168.1.1", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::a9fe:a9fe]", "[2002:a9fe:a9fe::]", "[::ffff:0:169.254.169.254]", "[fe80::1]",
    "[fe80::1%25eth0]", "[fc00::1]", "[ff02::1]", "224.0.0.1", "255.255.255.255", "192.88.99.1", "[5f00::1]", "[3fff::1]", "[2001:db8::1]",
    "198.18.0.1", "203.0.113.5", "router.local", "db.internal", "intranet", "host.docker.internal",
]  # fmt: skip
SPELLINGS = [*LOOPBACK, *ELSEWHERE]
