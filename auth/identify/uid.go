package identify

import (
	"errors"
	"strconv"
	"time"
)

// uidEntry is a user ID and its client: the peer's uid as evidence.
type uidEntry struct {
	client string
	uid    uint32
}

func (u *uidEntry) describe() (Method, string) {
	return UID, "uid:" + strconv.FormatUint(uint64(u.uid), 10)
}

func (u *uidEntry) resolve(d *Directory, _ time.Time) (string, time.Time, *Refusal) {
	if e := d.uids[u.uid]; e != nil {
		return e.client, time.Time{}, nil
	}
	return "", time.Time{}, unknownUID(u.uid)
}

func unknownUID(uid uint32) *Refusal {
	return refuse(ReasonUnknownClient, "no client is configured for the user ID "+strconv.FormatUint(uint64(uid), 10)+
		", which this connection comes from; ask for a client with a match of uid: "+strconv.FormatUint(uint64(uid), 10))
}

// uidUnknown is the refusal of a peer whose user ID would have to be known.
func uidUnknown(p *Peer, message string) *Refusal {
	r := refuse(ReasonUIDUnknown, message)
	if p.Why != "" {
		r.Err = errors.New("the user ID of the connecting process is not known: " + p.Why)
	}
	return r
}
