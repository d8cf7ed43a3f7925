"""Caches that make thousands of applications in one test process cheap. Applications share compiled code; nothing is faked."""

from typing import Any, ClassVar

import werkzeug.routing.rules
from argon2 import PasswordHasher
from jinja2.bccache import Bucket, BytecodeCache

# Thousands of tests sign in. Separate tests check the cost of a production hash.
QUICK_HASHER = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


class CompiledTemplates(BytecodeCache):
    """A cache of compiled templates. Compiling them again in each application took a third of the time of a page's tests."""

    kept: ClassVar[dict[str, bytes]] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bytecode := self.kept.get(bucket.key + bucket.checksum):
            bucket.bytecode_from_string(bytecode)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.kept[bucket.key + bucket.checksum] = bucket.bytecode_to_string()


def keep_compiled_routes() -> None:
    """Cache the function that Werkzeug compiles for every route, which took most of the time to create an application.

    The function depends only on the parts of the cache key, so equal rules share it.
    """
    rule = werkzeug.routing.rules.Rule
    compile_builder, cache = rule._compile_builder, {}

    def once(self: Any, append_unknown: bool = True) -> Any:
        key = (self.rule, tuple(self._trace), repr(self.defaults), append_unknown)
        if key not in cache:
            cache[key] = compile_builder(self, append_unknown)
        return cache[key]

    rule._compile_builder = once
