// Package endpoints reads a cluster's API server addresses from the
// EndpointSlices of the Service default/kubernetes.
//
// Source: Kubernetes documentation, "EndpointSlices"; the slices are kept by
// the API servers themselves (pkg/controlplane/reconcilers).
package endpoints

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
)

// Path is where the slices are listed.
const Path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dkubernetes"

// portName is the name of the secure port in the slices.
const portName = "https"

// sliceList is the part of discovery.k8s.io/v1 EndpointSliceList that is read.
type sliceList struct {
	Kind  string `json:"kind"`
	Items []struct {
		AddressType string `json:"addressType"`
		Endpoints   []struct {
			Addresses  []string `json:"addresses"`
			Conditions struct {
				Ready *bool `json:"ready"`
			} `json:"conditions"`
		} `json:"endpoints"`
		Ports []struct {
			Name *string `json:"name"`
			Port *int32  `json:"port"`
		} `json:"ports"`
	} `json:"items"`
}

// Parse returns the addresses in an EndpointSliceList, as host:port, sorted
// and each once. Endpoints that are not ready, addresses that are no IP and
// ports of another name are left out. It fails on what is no such list.
func Parse(body []byte) ([]string, error) {
	var list sliceList
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("read EndpointSlices of default/kubernetes: %w", err)
	}
	if list.Kind != "EndpointSliceList" {
		return nil, fmt.Errorf("read EndpointSlices of default/kubernetes: got a %q", list.Kind)
	}
	var addresses []string
	for _, slice := range list.Items {
		for _, port := range slice.Ports {
			if port.Port == nil || *port.Port < 1 || *port.Port > 65535 || port.Name != nil && *port.Name != portName && *port.Name != "" {
				continue
			}
			for _, endpoint := range slice.Endpoints {
				if endpoint.Conditions.Ready != nil && !*endpoint.Conditions.Ready {
					continue
				}
				for _, address := range endpoint.Addresses {
					ip, err := netip.ParseAddr(address)
					if err != nil || !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() {
						continue
					}
					addresses = append(addresses, net.JoinHostPort(ip.String(), strconv.Itoa(int(*port.Port))))
				}
			}
		}
	}
	slices.Sort(addresses)
	return slices.Compact(addresses), nil
}
