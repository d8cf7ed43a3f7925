"""LiteLLM side of the pipe, run in .bench-venv: replies to each `["name", count]` line with the CPU seconds of that many calls."""

import json
import os
import sys

from bench.harness import local, without_collecting

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # Otherwise it would fetch its prices from the network.
answers = os.dup(1)
os.dup2(2, 1)  # LiteLLM's own output must not be mistaken for a reply.
import litellm  # type: ignore[import-not-found] # noqa: E402 # it reads the environment at import

SUBJECTS = {
    "get_model_info": local(lambda: litellm.get_model_info("openai/gpt-4o")),
    "cost_per_token": local(
        lambda: litellm.cost_per_token(
            "openai/gpt-4o", prompt_tokens=12_000, completion_tokens=900, cache_read_input_tokens=8_000, cache_creation_input_tokens=0
        )
    ),
}

with without_collecting(), os.fdopen(answers, "w") as output:
    for line in sys.stdin:
        name, number = json.loads(line)
        print(json.dumps(SUBJECTS[name](number)), file=output, flush=True)
