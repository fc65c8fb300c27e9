"""Client secrets: their lifetime, their number, and what is kept of them."""

import pytest

from mms_engine.serve.client_secrets import ClientSecrets
from mms_engine.serve.errors import ApiError


class Clock:
    now = 1000.5

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_secret_lasts_until_it_expires(clock) -> None:
    secrets = ClientSecrets(clock)
    value, made = secrets.mint(None, "key one", {"a": 1}, 10)
    assert made.expires_at == 1010
    clock.now = 1009.9
    for _ in range(2):
        assert secrets.find(value) is made
    clock.now = 1010.0
    with pytest.raises(ApiError) as caught:
        secrets.find(value)
    assert (caught.value.status, caught.value.code) == (401, "invalid_client_secret")


def test_unknown_secrets_are_refused(clock) -> None:
    secrets = ClientSecrets(clock)
    value, _ = secrets.mint(None, "key one", None, 10)
    for wrong in ("", "ek_", value[:-1], value + "a", value.upper()):
        with pytest.raises(ApiError):
            secrets.find(wrong)


def test_the_number_of_a_client_is_bounded_until_some_expire(clock) -> None:
    secrets = ClientSecrets(clock)
    for _ in range(1000):
        secrets.mint(None, "key one", None, 10)
    with pytest.raises(ApiError) as caught:
        secrets.mint(None, "key one", None, 10)
    assert caught.value.status == 429
    secrets.mint(None, "key two", None, 10)
    clock.now = 1010.0
    secrets.mint(None, "key one", None, 10)


def test_the_value_is_not_kept(clock) -> None:
    secrets = ClientSecrets(clock)
    value, _ = secrets.mint(None, "key one", None, 10)
    kept = repr(vars(secrets))
    assert value not in kept
    assert value.removeprefix("ek_") not in kept
