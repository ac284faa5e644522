package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// TestInformerStaysInSync runs a client-go informer through kuberelay while
// the API servers are killed one after another and objects come, change and
// go. In the end its cache is what the cluster has.
func TestInformerStaysInSync(t *testing.T) {
	restored(t)
	r := frontAll(t)
	namespace := r.namespace()
	clients, err := kubernetes.NewForConfig(&rest.Config{Host: r.URL, QPS: 200, Burst: 200})
	check(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	factory := informers.NewSharedInformerFactoryWithOptions(clients, 0, informers.WithNamespace(namespace))
	configMaps := factory.Core().V1().ConfigMaps()
	lister := configMaps.Lister().ConfigMaps(namespace)
	configMaps.Informer()
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	defer cancel()
	factory.WaitForCacheSync(ctx.Done())

	api := clients.CoreV1().ConfigMaps(namespace)
	generation := 0
	churn := func() {
		t.Helper()
		generation++
		for i := range 10 {
			name := fmt.Sprintf("object-%d-%d", generation, i)
			_, err := api.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
			check(t, err)
			if i%2 == 0 {
				_, err = api.Update(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"generation": strconv.Itoa(generation)}}, metav1.UpdateOptions{})
				check(t, err)
			}
			if i%3 == 0 {
				check(t, api.Delete(ctx, name, metav1.DeleteOptions{}))
			}
		}
	}
	inSync := func() {
		t.Helper()
		list, err := api.List(ctx, metav1.ListOptions{})
		check(t, err)
		want := make(map[string]string)
		for _, o := range list.Items {
			want[o.Name] = o.ResourceVersion
		}
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			got := make(map[string]string)
			cached, err := lister.List(everything)
			check(t, err)
			for _, o := range cached {
				got[o.Name] = o.ResourceVersion
			}
			if maps.Equal(got, want) {
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("the informer's cache differs: it has %v, the cluster %v",
					slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
			}
		}
	}
	churn()
	inSync()
	for range 2 {
		for _, s := range cluster.Servers {
			check(t, s.Kill())
			r.awaitState(s.Address(), "DOWN", 10*time.Second)
			churn()
			inSync()
			check(t, s.Start(ctx))
			r.awaitState(s.Address(), "READY", time.Minute)
			churn()
			inSync()
		}
	}
}

// TestLongLogsInConstantMemory passes 200 MB of a pod's log.
func TestLongLogsInConstantMemory(t *testing.T) {
	const size = 200 << 20
	pod := newPod(t)
	r := frontAll(t)
	line := strings.Repeat("a line of a log that is long ", 35) + "\n"
	block := strings.Repeat(line, (1<<20)/len(line)+1)
	written := 0
	for written < size {
		check(t, cluster.AppendLog(block))
		written += len(block)
	}
	resp := r.openWatch("/api/v1/namespaces/default/pods/" + pod + "/log")
	n := discard(t, resp)
	if n < int64(written) {
		t.Errorf("%d bytes of log, want %d", n, written)
	}
	peak := r.peakMemory()
	t.Logf("%d MB passed, peak resident memory %d MiB", n>>20, peak>>20)
	if peak > 60<<20 {
		t.Errorf("peak resident memory %d MiB, want 60 at most", peak>>20)
	}
}
