package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/kuberelay/kuberelay/admin"
)

// statusTable renders a status for people: a sentence, then a table for each
// kind of thing that there is; with wide, also where the peers are, what they
// have to do, and who sees what.
func statusTable(s admin.Status, now time.Time, wide bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "kuberelay %s", printable(s.Version))
	if s.Node != "" {
		fmt.Fprintf(&b, " on %s", printable(s.Node))
	}
	fmt.Fprintf(&b, ", up %s", duration.HumanDuration(time.Duration(s.UptimeSeconds)*time.Second))
	if s.Draining {
		b.WriteString(", stopping")
	}
	b.WriteString("\n")
	if s.Isolated {
		fmt.Fprintf(&b, "THIS HOST SEEMS CUT OFF: %s\n", printable(s.IsolatedReason))
	}
	if s.AdminError != "" {
		fmt.Fprintf(&b, "THE ADMIN SERVER HAS FAILED: %s\n", printable(s.AdminError))
	}
	writeAudit(&b, s.Audit)
	writeConflicts(&b, s.Peers)
	if s.GossipError != "" {
		fmt.Fprintf(&b, "GOSSIP DOES NOT RUN, AND IS TRIED AGAIN: %s\n", printable(s.GossipError))
	}
	writeConfig(&b, s.Config, now)
	writeTable(&b, "CLUSTER\tUPSTREAM\tSTATE\tSINCE\tBREAKER\tIN-FLIGHT\tSTREAMS\tLATENCY\tREASON", upstreamRows(s, now))
	writeTable(&b, "LISTENER\tADDRESS\tMODE\tCLUSTER\tTLS\tIDENTIFY", listenerRows(s))
	writeTable(&b, "CLIENT\tIN-FLIGHT\tWATCHES\tUPGRADES\tREQUESTS\tSEEN\tREVOKED", clientRows(s, now))
	if wide {
		writeTable(&b, "PEER\tSTATE\tHEARD\tVERSION\tCONFIG\tUDP\tADDRESS\tADMIN\tKEYS\tIN-FLIGHT\tSTREAMS", widePeerRows(s, now))
		writeTable(&b, "CLUSTER\tUPSTREAM\tOBSERVER\tSTATE\tSINCE", observationRows(s, now))
	} else {
		writeTable(&b, "PEER\tSTATE\tHEARD\tVERSION\tCONFIG\tUDP", peerRows(s, now))
	}
	writeTable(&b, "CREDENTIAL\tEXPIRES\tERROR", credentialRows(s, now))
	writeTable(&b, "AGO\tEVENT\tOF\tWHAT", eventRows(s, now))
	return b.String()
}

func writeAudit(b *strings.Builder, a *admin.AuditStatus) {
	if a == nil || a.Error == "" {
		return
	}
	b.WriteString("AUDIT EVENTS CANNOT BE WRITTEN")
	if a.Blocks {
		b.WriteString(", REQUESTS THAT CHANGE SOMETHING ARE REFUSED")
	}
	fmt.Fprintf(b, ": %s\n", printable(a.Error))
}

func writeConflicts(b *strings.Builder, peers []admin.PeerStatus) {
	for _, p := range peers {
		if p.NameConflict != "" {
			fmt.Fprintf(b, "TWO INSTANCES ARE NAMED %s, at %s and %s: change gossip.nodeName on one of them\n",
				printable(p.Name), printable(p.Address), printable(p.NameConflict))
		}
	}
}

func writeConfig(b *strings.Builder, c *admin.ConfigStatus, now time.Time) {
	if c == nil {
		return
	}
	fmt.Fprintf(b, "configuration %s, loaded %s ago", printable(c.File), age(c.LoadedAt, now))
	if r := c.LastReload; r != nil && !r.OK {
		fmt.Fprintf(b, "; A RELOAD %s AGO WAS REFUSED:", age(r.At, now))
		for problem := range strings.Lines(r.Error) {
			fmt.Fprintf(b, "\n  %s", printable(problem))
		}
	}
	b.WriteString("\n")
}

// writeTable writes rows below a heading, or nothing if there are none.
func writeTable(b *strings.Builder, heading string, rows [][]any) {
	if len(rows) == 0 {
		return
	}
	b.WriteString("\n")
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, heading)
	for _, row := range rows {
		cells := make([]string, 0, len(row))
		for _, v := range row {
			text := printable(fmt.Sprint(v))
			if text == "" {
				text = "-"
			}
			cells = append(cells, text)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	_ = w.Flush() // a strings.Builder takes everything
	for line := range strings.Lines(table.String()) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
}

func upstreamRows(s admin.Status, now time.Time) (rows [][]any) {
	for _, c := range s.Clusters {
		if len(c.Upstreams) == 0 {
			rows = append(rows, []any{c.Name, "", "", "", "", "", "", "", c.Reason})
		}
		for _, u := range c.Upstreams {
			state := u.State
			if u.Draining {
				state += ",DRAINING"
			}
			rows = append(rows, []any{c.Name, u.ID, state, age(u.Since, now), u.Breaker, u.InFlight, u.Streams, latency(u.Latency), u.Reason})
		}
	}
	return rows
}

// latency is the latest of an upstream's figures; empty if there is none.
func latency(ms []float64) string {
	for _, v := range slices.Backward(ms) {
		switch {
		case v <= 0:
		case v < 10:
			return fmt.Sprintf("%.1fms", v)
		case v < 1000:
			return fmt.Sprintf("%.0fms", v)
		default:
			return fmt.Sprintf("%.1fs", v/1000)
		}
	}
	return ""
}

func listenerRows(s admin.Status) (rows [][]any) {
	for _, l := range s.Listeners {
		tls := "no"
		if l.TLS {
			tls = "yes"
		}
		rows = append(rows, []any{l.Name, l.Address, l.Mode, l.Cluster, tls, strings.Join(l.Identify, ",")})
	}
	return rows
}

// clientRows are the clients that have called or may not.
func clientRows(s admin.Status, now time.Time) (rows [][]any) {
	for _, c := range s.Clients {
		if c.Requests == 0 && c.InFlight+c.Watches+c.Upgrades == 0 && !c.Revoked {
			continue
		}
		revoked := ""
		switch {
		case c.Revoked && c.RevokedUntil.IsZero():
			revoked = "until lifted"
		case c.Revoked:
			revoked = "for " + duration.HumanDuration(c.RevokedUntil.Sub(now))
		}
		rows = append(rows, []any{c.Name, c.InFlight, c.Watches, c.Upgrades, c.Requests, age(c.LastSeen, now), revoked})
	}
	if rest := max(s.ClientsTotal, len(s.Clients)) - len(rows); rest > 0 && len(rows) > 0 {
		rows = append(rows, []any{fmt.Sprintf("(%d more)", rest)})
	}
	return rows
}

func credentialRows(s admin.Status, now time.Time) (rows [][]any) {
	for _, c := range s.Credentials {
		expires := "never"
		switch left := c.ExpiresAt.Sub(now); {
		case c.ExpiresAt.IsZero():
		case left < 0:
			expires = duration.HumanDuration(-left) + " ago"
		default:
			expires = "in " + duration.HumanDuration(left)
		}
		rows = append(rows, []any{c.Name, expires, c.Error})
	}
	return rows
}

// peerRows are the other instances, and what makes this one's view differ.
func peerRows(s admin.Status, now time.Time) (rows [][]any) {
	for _, p := range s.Peers {
		if !p.Self {
			rows = append(rows, peerRow(s, p, now))
		}
	}
	return rows
}

func peerRow(s admin.Status, p admin.PeerStatus, now time.Time) []any {
	config := ""
	switch {
	case p.ConfigHash == "" || s.Config == nil || s.Config.Hash == "":
	case p.ConfigHash == s.Config.Hash:
		config = "same"
	default:
		config = "DIFFERS"
	}
	return []any{p.Name, p.State, age(p.LastHeard, now), p.Version, config, p.UDP}
}

// widePeerRows are all instances, this one too, with what else is known of them.
func widePeerRows(s admin.Status, now time.Time) (rows [][]any) {
	for _, p := range s.Peers {
		name, load := p.Name, []any{"", ""}
		if p.Self {
			name += " (this one)"
		}
		if l := p.Load; l != nil {
			load = []any{l.InFlight, l.Streams}
		}
		row := peerRow(s, p, now)
		row[0] = name
		rows = append(rows, slices.Concat(row, []any{p.Address, p.AdminAddress, strings.Join(p.KeyIDs, ",")}, load))
	}
	return rows
}

// observationRows say who sees what of each API server.
func observationRows(s admin.Status, now time.Time) (rows [][]any) {
	for _, p := range s.Peers {
		for _, o := range p.Observations {
			rows = append(rows, []any{o.Cluster, o.Upstream, p.Name, o.State, age(o.Since, now)})
		}
	}
	slices.SortStableFunc(rows, func(a, b []any) int {
		return cmp.Or(strings.Compare(a[0].(string), b[0].(string)), strings.Compare(a[1].(string), b[1].(string)))
	})
	return rows
}

// eventRows are the latest events.
func eventRows(s admin.Status, now time.Time) (rows [][]any) {
	const most = 5
	for _, e := range s.Events[:min(len(s.Events), most)] {
		of := strings.TrimSpace(strings.Join([]string{e.Cluster, e.Upstream, e.Client}, " "))
		rows = append(rows, []any{age(e.At, now), e.Kind, of, e.Text})
	}
	return rows
}

// age is how long ago t was, as kubectl writes it; empty if that is not known.
func age(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return duration.HumanDuration(max(now.Sub(t), 0))
}

// printable makes one line of a text that came from elsewhere, without what
// would command a terminal.
func printable(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }), " ")
}
