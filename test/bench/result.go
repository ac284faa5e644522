package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"
)

// result is a whole run, as -json writes it.
type result struct {
	Started      time.Time     `json:"started"`
	Machine      string        `json:"machine"`
	Rounds       int           `json:"rounds"`
	Seconds      float64       `json:"secondsPerMeasurement"`
	Proxies      []proxyInfo   `json:"proxies"`
	Ratios       []ratio       `json:"ratios"`
	Added        []added       `json:"added"`
	Measurements []measurement `json:"measurements"`
}

type proxyInfo struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	PeakRSS int64  `json:"peakRSSBytes"`
}

// ratio is kuberelay's CPU time per request relative to another proxy's.
type ratio struct {
	Workload string `json:"workload"`
	Against  string `json:"against"`
	spread
}

// spread is the median and the range of a value over the rounds.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	v := slices.Sorted(slices.Values(values))
	return spread{Median: (v[(len(v)-1)/2] + v[len(v)/2]) / 2, Min: v[0], Max: v[len(v)-1]}
}

// over collects a value of each round.
func (r *result) over(proxy, workload string, value func(measurement) float64) []float64 {
	var values []float64
	for _, m := range r.Measurements { // in the order of rounds
		if m.Proxy == proxy && m.Workload == workload {
			values = append(values, value(m))
		}
	}
	return values
}

func cpu(m measurement) float64 { return m.CPU }

// summarise computes the ratios.
func (r *result) summarise() {
	r.summariseAdded()
	for _, w := range workloads {
		ours := r.over("kuberelay", w.Name, cpu)
		for _, p := range r.Proxies {
			theirs := r.over(p.Name, w.Name, cpu)
			if p.Name == "kuberelay" || isShared(p.Name) || len(theirs) != len(ours) {
				continue
			}
			quotients := make([]float64, len(ours))
			for i := range ours {
				quotients[i] = ours[i] / theirs[i]
			}
			r.Ratios = append(r.Ratios, ratio{w.Name, p.Name, spreadOf(quotients)})
		}
	}
}

func (r *result) print(out io.Writer) {
	fmt.Fprintf(out, "%s, %d rounds of %g s; median (min–max)\n\n", r.Machine, r.Rounds, r.Seconds)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "workload\tproxy\tCPU µs/request\trequests/s\tp50 ms\tp99 ms\tpeak RSS MiB")
	for _, w := range workloads {
		for _, p := range r.Proxies {
			c := spreadOf(r.over(p.Name, w.Name, cpu))
			rps := spreadOf(r.over(p.Name, w.Name, func(m measurement) float64 { return m.perSecond() }))
			p50 := spreadOf(r.over(p.Name, w.Name, func(m measurement) float64 { return m.P50 }))
			p99 := spreadOf(r.over(p.Name, w.Name, func(m measurement) float64 { return m.P99 }))
			fmt.Fprintf(t, "%s\t%s\t%.1f (%.1f–%.1f)\t%.0f (%.0f–%.0f)\t%.2f\t%.2f\t%.1f\n", w.Name, p.Name,
				c.Median, c.Min, c.Max, rps.Median, rps.Min, rps.Max, p50.Median, p99.Median, float64(p.PeakRSS)/(1<<20))
		}
	}
	_ = t.Flush()
	fmt.Fprintln(out)
	for _, q := range r.Ratios {
		fmt.Fprintf(out, "%s: kuberelay / %s = %.2f (%.2f–%.2f)\n", q.Workload, q.Against, q.Median, q.Min, q.Max)
	}
	for _, a := range r.Added {
		fmt.Fprintf(out, "%s: %s adds %.1f µs of CPU to kuberelay's (%.1f–%.1f)\n", a.Workload, a.Proxy, a.Median, a.Min, a.Max)
	}
	for _, p := range r.Proxies {
		fmt.Fprintf(out, "%s: %s\n", p.Name, p.Version)
	}
}

func (r *result) write(file string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

// check returns what exceeds the limits.
func (r *result) check(cfg config) error {
	errs := []error{r.checkAdded(cfg.maxAdded)}
	for _, q := range r.Ratios {
		if q.Against == "kubectl" && q.Median > cfg.maxRatio {
			errs = append(errs, fmt.Errorf("%s: kuberelay needs %.2f of kubectl proxy's CPU per request, more than %.2f", q.Workload, q.Median, cfg.maxRatio))
		}
	}
	for _, p := range r.Proxies {
		if p.Name == "kuberelay" && p.PeakRSS > cfg.maxRSS<<20 {
			errs = append(errs, fmt.Errorf("kuberelay's memory peaked at %.1f MiB, above %d MiB", float64(p.PeakRSS)/(1<<20), cfg.maxRSS))
		}
	}
	return errors.Join(errs...)
}
