package lab

import "testing"

func TestPortsAreTakenOnce(t *testing.T) {
	a, err := newPortPool()
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	// Ports of a range so small that both would find the same ones.
	b := &portPool{dir: a.dir}
	defer b.close()
	b.low, err = a.take()
	if err != nil {
		t.Fatal(err)
	}
	b.high = b.low + 1
	if port, err := b.take(); err == nil {
		t.Errorf("port %d was taken twice", port)
	}
	a.close()
	if port, err := b.take(); err != nil || port != b.low {
		t.Errorf("after its release: port %d, %v, want %d", port, err, b.low)
	}
	if b.low >= firstEphemeralPort() {
		t.Errorf("port %d is in the range of outgoing connections", b.low)
	}
}
