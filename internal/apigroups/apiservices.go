package apigroups

import (
	"encoding/json"
	"fmt"
)

// APIServices says which groups and versions aggregated API servers answer
// for. It is immutable.
type APIServices struct {
	aggregated map[groupVersion]struct{}
}

// ParseAPIServices reads an APIServiceList of apiregistration.k8s.io/v1. An
// APIService is aggregated when its spec.service is set; without one the
// kube-apiserver serves the group itself, CRDs included.
func ParseAPIServices(doc []byte) (*APIServices, error) {
	var list struct {
		Kind  string `json:"kind"`
		Items []struct {
			Spec struct {
				Group   string    `json:"group"`
				Version string    `json:"version"`
				Service *struct{} `json:"service"`
			} `json:"spec"`
		} `json:"items"`
	}
	if err := json.Unmarshal(doc, &list); err != nil {
		return nil, fmt.Errorf("parse APIService list: %w", err)
	}
	if list.Kind != "APIServiceList" {
		return nil, fmt.Errorf("parse APIService list: its kind is %.64q", list.Kind)
	}
	s := &APIServices{aggregated: map[groupVersion]struct{}{}}
	for _, item := range list.Items {
		gv := groupVersion{item.Spec.Group, item.Spec.Version}
		if item.Spec.Service == nil || !validName(gv.group) || !validName(gv.version) || len(s.aggregated) >= maxResources {
			continue
		}
		addAggregated(s.aggregated, gv)
	}
	return s, nil
}
