// Package config holds the [Configuration] of a kuberelay process: the clusters
// it fronts and the listeners it serves them on. It composes the Configs of the
// packages that do the work, so that each setting is documented, defaulted and
// checked where it is used.
//
// A Configuration is plain data, with every default written out that its
// package does not set itself. [Load] makes one from the file of kuberelay
// serve: strictly, with everything that is wrong said at once and with its
// line. [ProxyFlags] makes one from the command line of kuberelay proxy, whose
// flags are kubectl proxy's and a few more.
package config
