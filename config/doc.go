// Package config holds the [Configuration] of a kuberelay process: the clusters
// it fronts and the listeners it serves them on. It composes the Configs of the
// packages that do the work, so that each setting is documented, defaulted and
// checked where it is used.
//
// A Configuration is plain data and complete: every default is written out.
// [ProxyFlags] makes one from the command line of kuberelay proxy, whose flags
// are kubectl proxy's and a few more.
package config
