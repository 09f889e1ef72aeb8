"""Certificates made on the spot, and an origin that speaks TLS with them."""

import datetime
import ipaddress
import itertools
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from harness import ORIGIN
from rawnet import Origin

DAY = datetime.timedelta(days=1)
COUNT = itertools.count()  # an id() comes again when its object has gone
LOOPBACK = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
NAMES = [x509.DNSName(ORIGIN), LOOPBACK]
PROXY_NAMES = [x509.DNSName("localhost"), LOOPBACK]  # of tokenhop's own listeners, and of proxies beside it


class Identity:
    """A certificate and its key, in files."""

    def __init__(self, folder, name, names=NAMES, issuer=None, authority=False, start=-DAY, end=DAY, usage=(), more=()):
        """`usage`: of extendedKeyUsage, "client", "server"; `more`: attributes of the subject before its CN."""
        self.key, self.issuer = ec.generate_private_key(ec.SECP256R1()), issuer
        self.name = x509.Name([*more, x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.utcnow()
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(issuer.name if issuer else self.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + start)
            .not_valid_after(now + end)
        )
        if authority:
            builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
        elif names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if usage:
            known = {"client": ExtendedKeyUsageOID.CLIENT_AUTH, "server": ExtendedKeyUsageOID.SERVER_AUTH}
            builder = builder.add_extension(x509.ExtendedKeyUsage([known[u] for u in usage]), critical=False)
        certificate = builder.sign(issuer.key if issuer else self.key, hashes.SHA256())
        self.certificate = certificate
        self.der = certificate.public_bytes(serialization.Encoding.DER)
        self.stem = f"{next(COUNT)}"
        self.file = folder / f"{self.stem}.pem"
        self.file.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + self.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        self.file.chmod(0o600)
        self.ca_file = folder / f"{self.stem}-ca.pem"
        self.ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def write_list(self, *revoked, start=-DAY, end=DAY):
        """The revocation list of this authority."""
        now = datetime.datetime.utcnow()
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.name)
            .last_update(now + start)
            .next_update(now + end)
        )
        for other in revoked:
            entry = x509.RevokedCertificateBuilder()
            entry = entry.serial_number(other.certificate.serial_number).revocation_date(now - DAY)
            builder = builder.add_revoked_certificate(entry.build())
        file = self.file.with_name(f"{self.stem}-{len(revoked)}.crl")
        file.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return file


class TlsOrigin(Origin):
    """`.bytes` is what came inside of TLS; `.names`, `.versions`, `.reused` and `.shown` (client certificates, DER or
    None) have one entry a handshake that was done. While a request is answered, `.peer.der` is what was shown."""

    def __init__(self, identity, answer=None, change=None, listener=None):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(identity.file)
        self.context.set_alpn_protocols(["http/1.1"])
        self.context.sni_callback = lambda sock, name, context: setattr(sock, "sni", name)
        if change is not None:
            change(self.context)
        self.names, self.versions, self.reused, self.protocols, self.shown = [], [], [], [], []
        self.peer = threading.local()
        super().__init__(answer, listener=listener)

    def _serve(self, sock):
        try:
            tls = self.context.wrap_socket(sock, server_side=True)
        except OSError:
            with self.lock:
                self.sockets.discard(sock)
            return
        with self.lock:
            self.sockets.discard(sock)
            self.sockets.add(tls)
        self.names.append(getattr(tls, "sni", None))
        self.versions.append(tls.version())
        self.reused.append(tls.session_reused)
        self.protocols.append(tls.selected_alpn_protocol())
        self.peer.der = tls.getpeercert(binary_form=True)
        self.shown.append(self.peer.der)
        super()._serve(tls)
