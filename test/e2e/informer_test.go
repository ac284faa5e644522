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

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// TestInformerStaysInSync runs a client-go informer through kuberelay while
// the API servers are killed one after another and objects come, change and
// go. In the end its cache is what the cluster has.
func TestInformerStaysInSync(t *testing.T) {
	restored(t)
	r := frontAll(t)
	namespace := r.namespace()
	clients, err := dynamic.NewForConfig(&rest.Config{Host: r.URL, QPS: 200, Burst: 200})
	check(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	api := clients.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(namespace)
	informer := cache.NewSharedIndexInformer(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return api.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return api.Watch(ctx, o)
		},
	}, &unstructured.Unstructured{}, 0, cache.Indexers{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		informer.RunWithContext(ctx)
	}()
	defer func() {
		cancel()
		<-stopped
	}()
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		t.Fatal("the informer does not sync")
	}

	generation := 0
	churn := func() {
		t.Helper()
		generation++
		for i := range 10 {
			name := fmt.Sprintf("object-%d-%d", generation, i)
			object := configMap(name, 0)
			created, err := api.Create(ctx, object, metav1.CreateOptions{})
			check(t, err)
			if i%2 == 0 {
				object = configMap(name, generation)
				object.SetResourceVersion(created.GetResourceVersion())
				_, err = api.Update(ctx, object, metav1.UpdateOptions{})
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
			want[o.GetName()] = o.GetResourceVersion()
		}
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			got := make(map[string]string)
			for _, cached := range informer.GetStore().List() {
				if o, ok := cached.(*unstructured.Unstructured); ok {
					got[o.GetName()] = o.GetResourceVersion()
				}
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

func configMap(name string, generation int) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": name},
		"data":     map[string]any{"generation": strconv.Itoa(generation)},
	}}
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
