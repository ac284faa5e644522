// Package audit writes who did what as audit.k8s.io/v1 events, one JSON line
// each, to a file.
//
// A [Log] only reports that an event could not be written; what follows from
// it is decided in the data path, by this protocol. For each request that may
// change something and each upgrade, when [Log.Blocks], an event with
// [StageRequestReceived] is written before anything is sent to the cluster, and
// if Write fails, the request is refused with 503. Nothing else is asked first:
// the next attempt to write is also what finds out that writing works again, so
// a decision taken from [Log.Healthy] would never end. Requests that only read,
// and events of later stages, never wait for the log to work.
//
// That a line was written means that the kernel has all of it: it survives the
// end of the process, and not that of the machine, since nothing is synced.
// What the system refuses is known at once. A file system that hangs, as NFS
// may, holds the writer for as long, and every request with it; the log belongs
// on a local disk.
package audit
