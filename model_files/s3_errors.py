"""What a fault of S3, or on the way to it, means for a file, in our words."""

from typing import Any

from model_files.errors import MissingFileError, ModelFileError, SourceFailedError, SourceUnavailableError
from model_files.extras import library
from model_files.http_answers import error_of

_OTHER_CONTENT = frozenset({412, 416})

_REASONS = {
    "AccessDenied": "access is denied, or there is no such object and no right to know it",
    "InvalidAccessKeyId": "the access key is not known",
    "SignatureDoesNotMatch": "the secret key is not the access key's",
    "ExpiredToken": "the credentials have expired",
    "PermanentRedirect": "the bucket is in another region: set provider.s3.region",
    "AuthorizationHeaderMalformed": "the bucket is in another region: set provider.s3.region",
    "InvalidObjectState": "the object is archived",
}
"""Code of S3 → what to do about it."""

_NO_CREDENTIALS = "no credentials: set AWS_ACCESS_KEY_ID …, or provider.s3.anonymous for a public bucket"

_LASTING = {
    "NoCredentialsError": _NO_CREDENTIALS,
    "PartialCredentialsError": _NO_CREDENTIALS,
    "SSLError": "the server's certificate or its TLS is refused",
    "ParamValidationError": "it is no name that S3 knows",
    "NoRegionError": "no region: set AWS_REGION or provider.s3.region",
    "CredentialRetrievalError": "the credentials cannot be had",
}
"""Exception of botocore → what it means; another attempt would meet it again. The first that fits counts."""

_PASSING = {
    "ReadTimeoutError": "the server sends nothing any longer",
    "ConnectTimeoutError": "the server cannot be reached in time",
    "ConnectionError": "the server cannot be reached",
    "HTTPClientError": "the server cannot be reached, or the connection broke off",
    "IncompleteReadError": "the transfer broke off",
    "ResponseStreamingError": "the transfer broke off",
}
"""The same of those that another moment may undo."""


class OtherContentError(SourceFailedError):
    """A conditional request was refused: the object is not what it was, or not as long."""


def status_of(error: Any) -> int:
    """Return the HTTP status of a `ClientError`."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def error_of_s3(error: Any, uri: str) -> ModelFileError:
    """Return our error for the library's; its own text may hold a signed URL and is not passed on.

    Args:
        error: a `ClientError`, a `BotoCoreError`, or what breaks a transfer.
        uri: the file, as it may be shown.
    """
    botocore = library("botocore.exceptions", "s3")
    if isinstance(error, botocore.ClientError):
        return _refusal(error, uri)
    for kind, meanings in ((SourceFailedError, _LASTING), (SourceUnavailableError, _PASSING)):
        for name, text in meanings.items():
            if isinstance(error, getattr(botocore, name)):
                return kind(f"{uri}: {text}")
    if isinstance(error, botocore.BotoCoreError):
        return SourceFailedError(f"{uri}: {type(error).__name__}")
    return SourceUnavailableError(f"{uri}: the transfer broke off")


def _refusal(error: Any, uri: str) -> ModelFileError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code in {"NoSuchKey", "NoSuchBucket"}:
        return MissingFileError(f"no such {'object' if code == 'NoSuchKey' else 'bucket'}: {uri}")
    if code in _REASONS:
        return SourceFailedError(f"{uri}: {_REASONS[code]}")
    if status_of(error) in _OTHER_CONTENT:
        return OtherContentError(f"{uri}: the object has changed")
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return error_of(status_of(error), {name.title(): value for name, value in headers.items()}, uri)
