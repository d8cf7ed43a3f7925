"""What makes the thousands of applications of one test process cheap: each keeps what the one before it had compiled. Nothing is faked."""

from typing import Any, ClassVar

import werkzeug.routing.rules
from argon2 import PasswordHasher
from jinja2.bccache import Bucket, BytecodeCache

# Thousands of tests sign in; what a hash costs in earnest has tests of its own.
QUICK_HASHER = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


class CompiledTemplates(BytecodeCache):
    """What Jinja made of the templates. Compiling them again in each application was a third of the time of a page's tests."""

    kept: ClassVar[dict[str, bytes]] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if found := self.kept.get(bucket.key + bucket.checksum):
            bucket.bytecode_from_string(found)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.kept[bucket.key + bucket.checksum] = bucket.bytecode_to_string()


def keep_compiled_routes() -> None:
    """Werkzeug compiles a function for every route of every application, which was most of the time that making one took.

    The function depends on nothing but what the key names, so equal rules share it.
    """
    rule = werkzeug.routing.rules.Rule
    compiled, kept = rule._compile_builder, {}

    def once(self: Any, append_unknown: bool = True) -> Any:
        key = (self.rule, tuple(self._trace), repr(self.defaults), append_unknown)
        if key not in kept:
            kept[key] = compiled(self, append_unknown)
        return kept[key]

    rule._compile_builder = once
