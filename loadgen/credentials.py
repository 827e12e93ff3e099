"""AWS credentials from botocore's chain, as secrets that are renewed ahead of time.

botocore renews its own inside the call that reads them: with a thousand greenlets, in the middle of a thousand
requests. So they are read once, and the whole chain is asked anew for the next ones (`loadgen.renewal`).
"""

from __future__ import annotations

import logging

import botocore.session
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, ClientError, CredentialRetrievalError

from loadgen.renewal import Lease, RenewalError

# With DEBUG botocore logs what it is answered, credentials included.
logging.getLogger("botocore").setLevel(logging.INFO)
# A traceback for each attempt that fails, and a line for each that does not: what matters of it is in our own errors.
logging.getLogger("botocore.credentials").setLevel(logging.CRITICAL)

DUMMY = ReadOnlyCredentials("sandbox", "sandbox", None)
"""What the sandbox takes, wherever it takes no others."""


class CredentialsNotFoundError(RenewalError):
    """botocore's chain (environment, profile, container, instance) has no credentials, or cannot get them."""


def find_credentials(target: str, profile: str | None) -> Lease[ReadOnlyCredentials]:
    """Dummies for the sandbox, whatever the caller has; else what botocore's chain finds, fetched anew.

    Raises CredentialsNotFoundError.
    """
    if target == "sandbox":
        return Lease(DUMMY)
    try:
        session = botocore.session.Session(profile=profile)
        configured = session.get_scoped_config()
        if "role_arn" in configured and "mfa_serial" in configured:
            # botocore would ask on the terminal, in every process and for every renewal.
            raise CredentialsNotFoundError("the profile asks for an MFA code; get credentials first, and give those")
        credentials = session.get_credentials()
        # Those of a role are asked for only here.
        frozen = None if credentials is None else credentials.get_frozen_credentials()
    except ClientError as refused:
        raise CredentialsNotFoundError(f"refused: {refused.response['Error']['Code']}") from None
    except CredentialRetrievalError as failure:
        provider = failure.kwargs.get("provider")
        # What a command of the user's has printed may be anything.
        why = "its command failed" if provider == "custom-process" else failure
        raise CredentialsNotFoundError(f"{provider}: {why}") from None
    except (BotoCoreError, RuntimeError, OSError, ValueError) as failure:
        raise CredentialsNotFoundError(str(failure)) from None
    if frozen is None:
        raise CredentialsNotFoundError("none found (environment, AWS_PROFILE, container or instance)")
    # botocore tells nobody when they end; its own signer asks for them each time.
    expires = getattr(credentials, "_expiry_time", None)
    return Lease(frozen, None if expires is None else expires.timestamp())
