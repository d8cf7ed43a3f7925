"""The identity provider's button in a real browser. The content security policy must allow the redirect, and each worker the callback."""

import pytest
from fake_identity_provider import Provider
from playwright.sync_api import Browser
from serving import serving

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::DeprecationWarning")]  # The mock causes these, in its own threads.


@pytest.fixture
def provider(monkeypatch):
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")  # The provider uses plain HTTP here.
    identity_provider = Provider()
    identity_provider.person("s-ann", email="ann@example.com", email_verified=True)
    yield identity_provider
    identity_provider.stop()


def test_the_button_leads_out_and_back_past_the_content_policy(browser: Browser, settings, provider, tmp_path):
    environment = {
        "MODELDESK_OIDC_ISSUER": provider.issuer,
        "MODELDESK_OIDC_CLIENT_ID": "desk",
        "MODELDESK_OIDC_CLIENT_SECRET": "secret-of-the-browser",
        "MODELDESK_OIDC_NAME": "Acme ID",
        "MODELDESK_OUTBOUND_ALLOW": provider.place,
    }
    errors = []
    with serving(settings, tmp_path, **environment) as server:
        context = browser.new_context(base_url=f"http://127.0.0.1:{server.port}")
        context.route("**/*", lambda route: route.continue_() if "//127.0.0.1:" in route.request.url else route.abort())
        page = context.new_page()
        page.on("console", lambda message: errors.append(message.text) if "Content Security Policy" in message.text else None)
        page.goto("/login?next=/admin/model/")
        page.get_by_role("link", name="Sign in with Acme ID").click()
        page.wait_for_url("**/oauth2/authorize**")
        page.locator("input[name=sub]").last.fill("s-ann")
        page.keyboard.press("Enter")
        page.wait_for_url("**/admin/model/")
        for _ in range(6):  # Both workers know the session.
            page.goto("/admin/account/")
            assert page.get_by_role("heading", name="Your account").is_visible()
        context.close()
        assert "secret-of-the-browser" not in server.log.read_text()
    assert errors == []
