"""What is said when services have not converged."""

from manager.cli.progress.converge import explain
from manager.cli.progress.judgement import Progress, Verdict


def given_up(*reasons: str) -> Progress:
    return Progress(Verdict.FAILED, 0, 1, reasons=reasons)


def test_the_reasons_of_each_service_are_said():
    assert explain({"web": given_up("web.1: exit 1", "web.2: exit 3"), "db": given_up("the service was removed")}) == (
        "service web did not converge:\n  web.1: exit 1\n  web.2: exit 3\n"
        "service db did not converge:\n  the service was removed"
    )


def test_advice_on_registry_credentials_is_given_once():
    refused = given_up('web.1: No such image: r/web:1; pulling it failed: Head "http://r": no basic auth credentials')
    text = explain({"web": refused, "db": refused})
    assert text.count("--with-registry-auth") == 1
    assert text.splitlines()[-1].startswith("The registry requires credentials: 'docker login'")
