"""Runs in .bench-venv: answers `["name", number]` lines with the CPU seconds that so many calls of LiteLLM took."""

import json
import os
import sys

from bench.harness import local, without_collecting

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # It would fetch its prices from the network otherwise.
answers = os.dup(1)
os.dup2(2, 1)  # Whatever it prints must not be taken for an answer.
import litellm  # type: ignore[import-not-found] # noqa: E402 # it reads its environment when it is imported

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
