// Package doctor examines what kuberelay depends on, before it is started or
// when something is wrong: kubeconfigs, names, connections, certificates,
// clocks, credentials and what the cluster's RBAC lets them do, files,
// directories, and the process that runs already.
//
// Each check ends in a [Finding]: a verdict, a plain sentence, and what to do.
// Nothing is changed, but for files that are made and removed to see whether
// they can be, and ports that are bound for a moment. No finding holds a
// credential.
package doctor
