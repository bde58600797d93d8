"""The objects that traits add beside a component's workload. KubeVela: expose.cue, gateway.cue, hpa.cue, cpuscaler.cue."""

from __future__ import annotations

from flotilla.oam.components import Context, Made, service
from flotilla.oam.pods import Body
from flotilla.oam.trait_models import CpuScaler, Expose, ExposedPort, Gateway, Hpa, Metric


def expose(context: Context, given: Expose) -> tuple[Made, ...]:
    """Return the Service of an expose trait."""
    if given.ports is None:
        ports: list[Body] = [{"name": f"port-{port}", "port": port, "targetPort": port} for port in given.port or ()]
    else:
        ports = [_exposed(port, given.type) for port in given.ports]
    body = service(context.name, given.match_labels or context.selector, ports, given.type)
    if given.annotations is not None:
        body["metadata"]["annotations"] = given.annotations
    return (Made(body, "service"),)


def _exposed(port: ExposedPort, kind: str) -> Body:
    suffix = "" if port.protocol == "TCP" else f"-{port.protocol.lower()}"
    body: Body = {
        "port": port.port,
        "targetPort": port.port,
        "name": port.name or f"port-{port.port}{suffix}",
        "protocol": port.protocol,
    }
    return body | ({"nodePort": port.node_port} if port.node_port is not None and kind == "NodePort" else {})


def gateway(context: Context, given: Gateway) -> tuple[Made, ...]:
    """Return the Ingress of a gateway trait, and its Service unless one exists already."""
    suffix = f"-{given.name}" if given.name else ""
    name = context.name + suffix
    ports: list[Body] = [
        {"name": f"port-{port}", "port": port, "targetPort": port} for port in dict.fromkeys(given.http.values())
    ]
    made = [] if given.existing_service_name else [Made(service(name, context.selector, ports, None), f"service{suffix}")]
    return (*made, Made(_ingress(name, given), f"ingress{suffix}"))


def _ingress(name: str, given: Gateway) -> Body:
    annotations = {} if given.class_in_spec else {"kubernetes.io/ingress.class": given.ingress_class}
    annotations |= {"ingress.controller/host": given.gateway_host} if given.gateway_host else {}
    backend = given.existing_service_name or name
    paths = [
        {"path": path, "pathType": given.path_type, "backend": {"service": {"name": backend, "port": {"number": port}}}}
        for path, port in given.http.items()
    ]
    spec: Body = {"ingressClassName": given.ingress_class} if given.class_in_spec else {}
    if given.secret_name:
        spec["tls"] = [{"hosts": [given.domain] if given.domain else [], "secretName": given.secret_name}]
    spec["rules"] = [({"host": given.domain} if given.domain else {}) | {"http": {"paths": paths}}]
    metadata = {"name": name, "annotations": annotations | given.annotations, "labels": dict(given.labels)}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec}


def cpuscaler(context: Context, given: CpuScaler) -> tuple[Made, ...]:
    """Return the autoscaler of a cpuscaler trait."""
    spec = _scale_of(context, given) | {"targetCPUUtilizationPercentage": given.cpu_util}
    return (Made(_autoscaler("autoscaling/v1", context, spec), "cpuscaler"),)


def hpa(context: Context, given: Hpa) -> tuple[Made, ...]:
    """Return the autoscaler of an hpa trait."""
    metrics = [_resource_metric("cpu", given.cpu)] + ([_resource_metric("memory", given.mem)] if given.mem else [])
    metrics += [
        {
            "type": "Pods",
            "pods": {"metric": {"name": one.name}, "target": {"type": "AverageValue", "averageValue": one.value}},
        }
        for one in given.pod_custom_metrics
    ]
    return (Made(_autoscaler("autoscaling/v2", context, _scale_of(context, given) | {"metrics": metrics}), "hpa"),)


def _resource_metric(name: str, metric: Metric) -> Body:
    key = "averageUtilization" if metric.type == "Utilization" else "averageValue"
    return {"type": "Resource", "resource": {"name": name, "target": {"type": metric.type, key: metric.value}}}


def _scale_of(context: Context, given: Hpa | CpuScaler) -> Body:
    target = {"apiVersion": given.target_api_version, "kind": given.target_kind, "name": context.name}
    return {"scaleTargetRef": target, "minReplicas": given.min, "maxReplicas": given.max}


def _autoscaler(version: str, context: Context, spec: Body) -> Body:
    return {"apiVersion": version, "kind": "HorizontalPodAutoscaler", "metadata": {"name": context.name}, "spec": spec}
