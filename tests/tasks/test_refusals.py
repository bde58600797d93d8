"""What an API server refuses, by admission, rights, credentials and size: told in words, and nothing else is hidden."""

from __future__ import annotations

import base64
import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from flotilla.errors import Permanent
from flotilla.rollout import Action
from tasks.clusters import Connection, connect
from tasks.looks import look_at
from tests.tasks.faults import held, of_context
from tests.tasks.stage import CLUSTER, Stage, config, unknown

pytestmark = [
    pytest.mark.lab,
    pytest.mark.filterwarnings("ignore:Parsed a serial number"),  # that of the lab's own authority
]


@pytest.fixture
def reach(fleet_lab, tmp_path) -> Any:
    """Return a function that connects to the cluster with other credentials, or to another address."""

    def to(user: dict[str, Any], **cluster: Any) -> Connection:
        document = of_context(fleet_lab.kubeconfig, CLUSTER)
        document["users"][0]["user"] = user
        document["clusters"][0]["cluster"] |= cluster
        file = tmp_path / "kubeconfig"
        file.write_text(yaml.safe_dump(document))
        known = fleet_lab.fleet.cluster(CLUSTER)
        return connect(known.model_copy(update={"kubeconfig": type(known.kubeconfig)(file=str(file))}))

    return to


def policy(stage: Stage, **spec: Any) -> str:
    """Create a ValidatingAdmissionPolicy that holds in the stage's namespace only, and wait until it is in force."""
    name = f"test-{stage.suffix}"
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}]
    selector = {"matchLabels": {"kubernetes.io/metadata.name": stage.namespace}}
    match = {"resourceRules": rules, "namespaceSelector": selector}
    api = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    stage.beside += [f"validatingadmissionpolicy/{name}", f"validatingadmissionpolicybinding/{name}"]
    stage.kubectl(
        "create", "-f", "-", input=api | {"kind": "ValidatingAdmissionPolicy", "spec": {"matchConstraints": match, **spec}}
    )
    binding = {"policyName": name, "validationActions": ["Deny"]}
    stage.kubectl("create", "-f", "-", input=api | {"kind": "ValidatingAdmissionPolicyBinding", "spec": binding})
    return name


REASONS = [("Invalid", 422), ("Forbidden", 403)]


@pytest.mark.parametrize(("reason", "status"), REASONS)
def test_an_admission_policy_refuses_in_its_own_words_in_the_plan_already(stage, reason, status):
    expression = "!has(object.data) || !('a' in object.data) || object.data['a'] != 'bad'"
    policy(stage, validations=[{"expression": expression, "message": "no bad data here", "reason": reason}])
    stage.until(lambda: "no bad data here" in stage.told(config(a="bad")))

    assert {"m": Action.REFUSED, "good": Action.CREATE} == stage.planned(config(a="bad"), config("good"))
    with pytest.raises(Permanent, match=rf"could not apply ConfigMap .*/m: .*no bad data here \(HTTP {status}\)$"):
        stage.roll(config(a="bad"), config("good"))
    assert ["good"] == stage.names()


@pytest.fixture
def account(stage, reach):
    """Return a function that connects as a ServiceAccount that may do some things in the namespace."""

    def allowed(*rules: dict[str, Any]) -> Connection:
        stage.inside("create", "serviceaccount", "deployer")
        api = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "deployer"}}
        stage.inside("create", "-f", "-", input=api | {"kind": "Role", "rules": list(rules)})
        stage.inside("create", "rolebinding", "deployer", "--role=deployer", f"--serviceaccount={stage.namespace}:deployer")
        name = f"deployer-{stage.suffix}"
        stage.beside += [f"clusterrole/{name}", f"clusterrolebinding/{name}"]
        stage.kubectl("create", "clusterrole", name, "--verb=get", "--resource=namespaces")
        stage.kubectl(
            "create", "clusterrolebinding", name, f"--clusterrole={name}", f"--serviceaccount={stage.namespace}:deployer"
        )
        token = stage.inside("create", "token", "deployer").strip()  # a TokenRequest
        return reach({"token": token})

    return allowed


def rule(*verbs: str, resource: str = "configmaps", group: str = "") -> dict[str, Any]:
    return {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}


def test_an_account_with_the_rights_it_needs_rolls_out(stage, account):
    through = account(rule("get", "list", "create", "patch"))

    assert {"m": Action.CREATE} == stage.roll(config(), through=through)
    assert {"m": Action.UNCHANGED} == stage.planned(config(), through=through)


def test_a_missing_right_is_told_with_verb_resource_and_namespace(stage, account):
    through = account(rule("get", "list"))

    told = f'cannot patch resource "configmaps" in API group "" in the namespace "{stage.namespace}"'
    assert told in stage.told(config(), through=through)
    with pytest.raises(Permanent, match=rf"{told} \(HTTP 403\); give the account this right"):
        stage.roll(config(), through=through)


def test_an_account_that_may_not_look_sees_nothing_and_says_so(stage, account):
    stage.roll(config())
    through = account(rule("get", "patch"))

    seen = unknown(stage, through, config())

    assert 'cannot list resource "configmaps"' in seen.reason


def test_a_token_that_is_not_valid_is_told_so(stage, reach):
    seen = unknown(stage, reach({"token": "no.such.token"}), config())

    assert "(HTTP 401); the credentials are not valid (any more): renew them in the kubeconfig" in seen.reason


def certificate(tmp_path: Path, authority: tuple[bytes, bytes] | None, days: int) -> dict[str, str]:
    """Return a user with a client certificate of the administrators' group, signed by the authority or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters"), x509.NameAttribute(NameOID.COMMON_NAME, "test")]
    subject = issuer = x509.Name(names)
    signer: Any = key
    if authority:
        issuer = x509.load_pem_x509_certificate(authority[0]).subject
        signer = serialization.load_pem_private_key(authority[1], None)
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=10))
        .not_valid_after(now + datetime.timedelta(days=days))
        .sign(signer, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    data = {"client-certificate-data": built.public_bytes(serialization.Encoding.PEM), "client-key-data": pem}
    return {name: base64.b64encode(value).decode() for name, value in data.items()}


@pytest.fixture
def authority(fleet_lab) -> tuple[bytes, bytes]:
    """Return certificate and key of the cluster's own authority."""
    cluster = of_context(fleet_lab.kubeconfig, CLUSTER)["clusters"][0]["cluster"]
    file = Path(cluster["certificate-authority"])
    return held(fleet_lab.kubeconfig, cluster, "certificate-authority"), file.with_suffix(".key").read_bytes()


def test_a_client_certificate_of_the_authority_is_taken(stage, reach, authority, tmp_path):
    through = reach(certificate(tmp_path, authority, days=1))

    assert {"m": Action.CREATE} == stage.planned(config(), through=through)


def test_an_expired_client_certificate_is_told_and_is_never_an_empty_cluster(stage, reach, authority, tmp_path):
    stage.roll(config())

    seen = unknown(stage, reach(certificate(tmp_path, authority, days=-1)), config())

    assert "credentials are not valid (any more): renew them in the kubeconfig" in seen.reason


def test_a_client_certificate_of_another_authority_is_told(stage, reach, tmp_path):
    seen = unknown(stage, reach(certificate(tmp_path, None, days=1)), config())

    assert "credentials are not valid (any more): renew them in the kubeconfig" in seen.reason


def test_an_api_server_that_is_not_trusted_is_told(stage, reach, tmp_path):
    other = certificate(tmp_path, None, days=1)["client-certificate-data"]
    through = reach({}, **{"certificate-authority-data": other, "certificate-authority": None})

    seen = unknown(stage, through, config())

    assert "TLS with https://" in seen.reason
    assert "check certificate-authority" in seen.reason


def large(count: int, size: int) -> list[dict[str, Any]]:
    return [config(f"m{number}", text="x" * size) for number in range(count)]


def test_five_megabytes_of_manifests_are_rolled_out(stage):
    wanted = large(10, 500_000)

    assert {Action.CREATE} == set(stage.planned(*wanted).values())
    assert {Action.CREATE} == set(stage.roll(*wanted).values())
    assert {Action.UNCHANGED} == set(stage.planned(*wanted).values())


LIMITS = [(1_100_000, "may not be more than 1048576 bytes"), (4_000_000, "limit is 3145728")]


@pytest.mark.parametrize(("size", "limit"), LIMITS)
def test_an_object_that_is_too_large_is_refused_with_the_limit_before_anything_is_changed(stage, size, limit):
    told = stage.told(*large(1, size))

    assert told.startswith("refused: ")
    assert limit in told


def test_a_look_changes_nothing_even_where_it_is_refused(stage):
    look_at(stage.connection, stage.intent(*large(1, 1_100_000), config("good")))

    assert [] == stage.names()
