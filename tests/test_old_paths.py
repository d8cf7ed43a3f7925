"""Import paths of the previous release: they work until the next one (contract, section 3)."""

import webapp.registry
import webapp.runtime.container
from webapp.domain.usage import Usage
from webapp.services.registry import ModelRegistry
from webapp.web.current import registry


def test_the_paths_of_the_previous_release_lead_to_the_same_objects():
    assert ModelRegistry is webapp.registry.ModelRegistry
    assert Usage is webapp.registry.Usage
    assert registry is webapp.runtime.container.registry
