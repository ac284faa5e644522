package policy

// Config is a policy: a name and the rules of which any one allows a request.
type Config struct {
	// Name is what grants refer to.
	Name string `yaml:"name"`
	// Rules allow; what no rule allows is denied. At least one.
	Rules []Rule `yaml:"rules"`
}

// Rule allows the verbs on resources or on non-resource URLs, in the words of
// RBAC's PolicyRule (https://kubernetes.io/docs/reference/access-authn-authz/rbac/).
// It has Resources and APIGroups, or NonResourceURLs, and not both.
type Rule struct {
	// Verbs are get, list, watch, create, update, patch, delete,
	// deletecollection; for NonResourceURLs get, head, post, put, patch,
	// delete, options, which are HTTP methods in lower case, and create, which
	// is an upgrade; "*" is every verb. At least one.
	//
	// The subresources exec, attach, portforward and proxy need create,
	// whatever the request's method; so does every other upgrade that is not a
	// watch or a log, and reading pods/ephemeralcontainers or
	// serviceaccounts/token.
	Verbs []string `yaml:"verbs"`

	// APIGroups are the groups of Resources; "" is the core group, "*" every
	// group.
	APIGroups []string `yaml:"apiGroups"`

	// Resources are plural names, such as pods, which does not cover its
	// subresources; with a subresource, pods/log; "*" is every resource and
	// subresource, "*/scale" the subresource scale of every resource, and
	// "pods/*", which RBAC does not have, every subresource of pods.
	Resources []string `yaml:"resources"`

	// Namespaces are the namespaces that Resources may be in. Default: all,
	// and what is in no namespace. With namespaces named, requests across all
	// namespaces and for cluster-wide resources are not allowed by this rule;
	// "*" is every namespace, and still not those. A namespace itself counts
	// as in it: get of it is allowed, list of namespaces is not.
	Namespaces []string `yaml:"namespaces"`

	// ResourceNames are the names that a request may be for. Default: all, and
	// requests that name none. With names given, list and watch are allowed
	// only with a field selector of metadata.name, and deletecollection and
	// create not at all but for create on a subresource, as with RBAC.
	ResourceNames []string `yaml:"resourceNames"`

	// NonResourceURLs are paths, decoded; a "*" at the end stands for any
	// rest, "*" alone for every path.
	NonResourceURLs []string `yaml:"nonResourceURLs"`
}
