package daemon

import "github.com/kuberelay/kuberelay/audit"

// BreakAudit makes every further event of the audit log in use fail to be
// written, as on a full disk.
func (d *Daemon) BreakAudit() error { return d.auditInUse().Close() }

func (d *Daemon) auditInUse() *audit.Log { return d.access.Load().Audit }
