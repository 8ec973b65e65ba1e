"""A certificate for 127.0.0.1 that nobody has signed but itself, valid from 2020 to 2120.

Made with `openssl req -new` and `openssl ca -selfsign`. Its key protects nothing but these tests.
"""

import ssl
from pathlib import Path

_KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgYliiVtA2DfuSbOKF
bFTGNtKlxoY67pI1g77Q1m5zPnuhRANCAAQJfnI9ZfDB80mOClz7EehtRkVtfcZH
a3D/V2Sw133WG68UW+FRzWYjGCPhIC0YebraEP5SUa8uO7SUZIh5mH3s
-----END PRIVATE KEY-----
"""

CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBfzCCASagAwIBAgIBATAKBggqhkjOPQQDAjAeMRwwGgYDVQQDDBNtaXJyb3Ig
b2YgdGhlIHRlc3RzMCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAe
MRwwGgYDVQQDDBNtaXJyb3Igb2YgdGhlIHRlc3RzMFkwEwYHKoZIzj0CAQYIKoZI
zj0DAQcDQgAECX5yPWXwwfNJjgpc+xHobUZFbX3GR2tw/1dksNd91huvFFvhUc1m
Ixgj4SAtGHm62hD+UlGvLju0lGSIeZh97KNTMFEwDwYDVR0TAQH/BAUwAwEB/zAO
BgNVHQ8BAf8EBAMCAoQwDwYDVR0RBAgwBocEfwAAATAdBgNVHQ4EFgQUHVSRSCMy
pOBqLdRzXovk/JbRYm8wCgYIKoZIzj0EAwIDRwAwRAIgCqsDdWcqei1FFSyLjNyt
8C6hz6Z1EnKhSuwjoh8sUQMCIANsB4ClA7PScCp1PBd1hCiFknd5YMt5mJPPs+UA
e6bG
-----END CERTIFICATE-----
"""


def server_context(folder: Path) -> ssl.SSLContext:
    """For a server that shows this certificate; `folder` is for its files."""
    path = folder / "server.pem"
    path.write_text(_KEY + CERTIFICATE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
