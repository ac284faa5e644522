package admin

import (
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxProfile is how long a profile or a trace may be recorded.
const maxProfile = 60 * time.Second

// profiles serves /debug/pprof/ for go tool pprof. Profiles show the program's
// insides, command line included, so only the control socket has them.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if text := r.FormValue("seconds"); text != "" {
			seconds, err := strconv.ParseFloat(text, 64)
			if err != nil || !(seconds > 0) || seconds > maxProfile.Seconds() {
				refuse(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, "Seconds",
					"seconds must be a number, more than 0 and at most "+strconv.Itoa(int(maxProfile.Seconds())))
				return
			}
		}
		extend(w, maxProfile+readTimeout) // 30 seconds are what pprof takes without being told
		mux.ServeHTTP(w, r)
	})
}
