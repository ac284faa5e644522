package gossip

import (
	"testing"

	"github.com/kuberelay/kuberelay/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
