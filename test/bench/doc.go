// Command bench compares the CPU time that a request costs in kuberelay proxy
// and in kubectl proxy (with -with also haproxy and nginx), in one run on one
// machine.
//
// Three processes besides the proxies take part: the origins (TLS, HTTP/1.1
// and HTTP/2, this program's "origin" command), the load generator ("load":
// plain HTTP/1.1 keep-alive connections that always have one request in
// flight), and the harness, which only watches. Each proxy gets the same
// kubeconfig: the origins' CA and a bearer token without which they answer 401.
//
// Two workloads: "get", a 1 KiB object over 64 connections, and "list", a
// 1 MiB list over 8. All proxies run all the time; the rounds are interleaved,
// so that a disturbance of the machine meets all of them. The CPU time is user
// and system time of the proxy's process, from /proc, divided by the requests
// that the load generator completed. A response that is not 200, or not as
// long as it should be, ends the run with an error.
//
// The ratio of a round is kuberelay's CPU time per request divided by kubectl
// proxy's in the same round; reported are the median and the range over the
// rounds. With -check the exit status is 1 when a median is above -max-ratio,
// or kuberelay's peak memory above -max-rss.
//
//	go run ./test/bench -rounds 5 -check -json result.json
//
// It needs Linux.
package main
