package apigroups

import "strings"

// builtin lists what a plain Kubernetes (1.37) serves, plus the metrics API,
// which nearly every cluster has. It is the table's start value: from the
// cluster's own discovery documents on, those alone count.
var builtin = map[string]string{
	"": "bindings componentstatuses configmaps endpoints events limitranges namespaces nodes " +
		"persistentvolumeclaims persistentvolumes pods podtemplates replicationcontrollers " +
		"resourcequotas secrets serviceaccounts services",
	"admissionregistration.k8s.io": "mutatingadmissionpolicies mutatingadmissionpolicybindings mutatingwebhookconfigurations " +
		"validatingadmissionpolicies validatingadmissionpolicybindings validatingwebhookconfigurations",
	"apiextensions.k8s.io":         "customresourcedefinitions",
	"apiregistration.k8s.io":       "apiservices",
	"apps":                         "controllerrevisions daemonsets deployments replicasets statefulsets",
	"authentication.k8s.io":        "selfsubjectreviews tokenreviews",
	"authorization.k8s.io":         "localsubjectaccessreviews selfsubjectaccessreviews selfsubjectrulesreviews subjectaccessreviews",
	"autoscaling":                  "horizontalpodautoscalers",
	"batch":                        "cronjobs jobs",
	"certificates.k8s.io":          "certificatesigningrequests clustertrustbundles podcertificaterequests",
	"coordination.k8s.io":          "leasecandidates leases",
	"discovery.k8s.io":             "endpointslices",
	"events.k8s.io":                "events",
	"flowcontrol.apiserver.k8s.io": "flowschemas prioritylevelconfigurations",
	"internal.apiserver.k8s.io":    "storageversions",
	"metrics.k8s.io":               "nodes pods",
	"networking.k8s.io":            "ingressclasses ingresses ipaddresses networkpolicies servicecidrs",
	"node.k8s.io":                  "runtimeclasses",
	"policy":                       "poddisruptionbudgets",
	"rbac.authorization.k8s.io":    "clusterrolebindings clusterroles rolebindings roles",
	"resource.k8s.io":              "deviceclasses devicetaintrules resourceclaims resourceclaimtemplates resourceslices",
	"scheduling.k8s.io":            "priorityclasses",
	"storage.k8s.io":               "csidrivers csinodes csistoragecapacities storageclasses volumeattachments volumeattributesclasses",
	"storagemigration.k8s.io":      "storageversionmigrations",
}

// builtinAggregated are groups of the Kubernetes project that only aggregated
// API servers ever serve.
var builtinAggregated = []string{"metrics.k8s.io", "custom.metrics.k8s.io", "external.metrics.k8s.io"}

func wellKnown() map[string]*group {
	groups := make(map[string]*group, len(builtin))
	for name, resources := range builtin {
		g := &group{name: name, resources: map[string]string{}}
		for r := range strings.FieldsSeq(resources) {
			g.resources[r] = r
		}
		groups[name] = g
	}
	return groups
}

func wellKnownAggregated() map[groupVersion]struct{} {
	set := make(map[groupVersion]struct{}, 2*len(builtinAggregated))
	for _, name := range builtinAggregated {
		addAggregated(set, groupVersion{name, anyVersion})
	}
	return set
}
