package endpoints

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const three = `{"kind":"EndpointSliceList","items":[
 {"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.12"],"conditions":{"ready":true}},{"addresses":["10.0.0.11"]}],"ports":[{"name":"https","port":6443}]},
 {"addressType":"IPv6","endpoints":[{"addresses":["fd00::1"]}],"ports":[{"name":"https","port":6443},{"name":"metrics","port":9}]},
 {"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.13"],"conditions":{"ready":false}},{"addresses":["10.0.0.11","api.example.org","0.0.0.0"]}],"ports":[{"port":6443},{"name":"https"}]}]}`

func TestParse(t *testing.T) {
	got, err := Parse([]byte(three))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"10.0.0.11:6443", "10.0.0.12:6443", "[fd00::1]:6443"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
}

func TestParseRefusesWhatIsNoList(t *testing.T) {
	for _, body := range []string{"", "{}", "null", `{"kind":"Status"}`, "<html>"} {
		if got, err := Parse([]byte(body)); err == nil {
			t.Errorf("Parse(%q) = %v, want an error", body, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(three))
	f.Fuzz(func(t *testing.T, body []byte) {
		addresses, err := Parse(body)
		if err != nil && addresses != nil {
			t.Errorf("addresses %v beside error %v", addresses, err)
		}
		for _, a := range addresses {
			if _, err := netip.ParseAddrPort(a); err != nil {
				t.Errorf("address %q: %v", a, err)
			}
		}
	})
}
