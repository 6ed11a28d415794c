"""What is mounted beside the model: the policy, the API keys and the certificate, each only where it was asked for."""

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path

from serinus_server.access import Access
from serinus_server.api_keys import APIKeys, read_api_keys
from serinus_server.audit import AuditTrail
from serinus_server.failure import FatalError, Reason
from serinus_server.gate import Gate
from serinus_server.log import JsonLog
from serinus_server.metrics import Metrics
from serinus_server.mounted_files import AnyFolder, Folder, watch
from serinus_server.policy import POLICY_FILE, AccessMode, Policy, parse_policy
from serinus_server.quota import Quota, Usages
from serinus_server.settings import ServeSettings
from serinus_server.tls import AUTHORITIES_FILE, Certificate, InvalidCertificateError, read_certificate
from serinus_server.token_review import KubernetesAPI, TokenReviewer


class Mounts:
    """Reads what is mounted, and puts it in force. All methods belong to the event loop's thread."""

    def __init__(self, settings: ServeSettings, metrics: Metrics, log: JsonLog, usages: Usages | None) -> None:
        """Quotas hold for all processes that have the same `usages`; without them for this one."""
        self._settings = settings
        self._metrics = metrics
        self._log = log
        self._quota = Quota(usages)
        self._access = Access(TokenReviewer(KubernetesAPI(settings.service_account_dir).user))
        self._folders: list[AnyFolder] = []
        self._when_replaced: list[Callable[[Certificate], Awaitable[None]]] = []
        self.gate = Gate(self._access, self._quota) if settings.policy_dir is not None else None
        """Where requests are let in; None lets in whatever comes."""
        self.audit = AuditTrail(metrics) if settings.policy_dir is not None else None
        """Where inferences are recorded, if the policy asks for it."""
        self.certificate: Certificate | None = None

    async def load(self) -> None:
        """Read everything for the first time.

        Raises FatalError.
        """
        settings = self._settings
        if settings.policy_dir is not None:
            await self._add(
                Folder("policy", settings.policy_dir, Reason.INVALID_POLICY, _read_policy, self._use_policy)
            )
        if settings.api_keys_dir is not None or self._asks_for_keys:
            await self._add_keys(settings.api_keys_dir)
        if settings.tls_dir is not None:
            reason = Reason.INVALID_CERTIFICATE
            await self._add(Folder("tls", settings.tls_dir, reason, read_certificate, self._use_certificate))

    def on_certificate(self, replaced: Callable[[Certificate], Awaitable[None]]) -> None:
        """Have every later certificate told."""
        self._when_replaced.append(replaced)

    def watch(self) -> "asyncio.Task[None] | None":
        """Look for changes from now on."""
        if not self._folders:
            return None
        return asyncio.create_task(watch(self._folders, self._log, self._metrics))

    @property
    def _asks_for_keys(self) -> bool:
        access = self._access.policy
        return access is not None and access.mode is AccessMode.API_KEY

    async def _add_keys(self, path: Path | None) -> None:
        if self._settings.policy_dir is None:
            message = f"--api-keys-dir needs --policy-dir: without access in its {POLICY_FILE} keys keep nobody out"
            raise FatalError(Reason.INVALID_POLICY, message)
        if path is None:
            message = f"{self._settings.policy_dir / POLICY_FILE} asks for API keys, and there is no --api-keys-dir"
            raise FatalError(Reason.INVALID_API_KEYS, message)
        folder = Folder("api_keys", path, Reason.INVALID_API_KEYS, read_api_keys, self._use_keys)
        try:
            await self._add(folder)
        except FatalError as failure:
            if self._asks_for_keys:
                raise
            # Nobody needs them now. Should the policy ask for them before they are mended, they let nobody in.
            self._metrics.reload_failed(folder.source)
            self._folders.append(folder)
            self._log.event(failure.line, level="error", source=folder.source)

    async def _add(self, folder: AnyFolder) -> None:
        await folder.load()
        self._metrics.reloaded(folder.source)
        self._folders.append(folder)

    async def _use_policy(self, read: tuple[Policy, str]) -> None:
        policy, digest = read
        self._quota.apply(policy.limits, policy.limits_per_client)
        self._access.policy = policy.access
        if self.audit is not None:
            self.audit.apply(policy.audit)
        self._metrics.policy_in_force(digest)

    async def _use_keys(self, keys: APIKeys) -> None:
        self._access.keys = keys

    async def _use_certificate(self, certificate: Certificate) -> None:
        former = self.certificate
        if former is not None and (former.authorities is None) != (certificate.authorities is None):
            raise InvalidCertificateError(
                f"{AUTHORITIES_FILE} has come or gone; whether clients need certificates is settled at start"
            )
        self.certificate = certificate
        self._metrics.certificate_in_force(certificate.expires)
        if former is not None:
            for replaced in self._when_replaced:
                await replaced(certificate)


def _read_policy(folder: Path) -> tuple[Policy, str]:
    content = (folder / POLICY_FILE).read_bytes()
    return parse_policy(content), sha256(content).hexdigest()
