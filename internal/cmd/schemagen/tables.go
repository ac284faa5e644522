package main

import (
	"reflect"

	"github.com/kuberelay/kuberelay/audit"
	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/auth/policy"
	"github.com/kuberelay/kuberelay/config"
)

// What is not in the Go types: packages check it in code.

// enums are the values of types, and of fields that are mere strings.
var enums = map[string][]string{
	"balancer.Policy":         config.Policies(),
	"config.DiscoveryMode":    {string(config.DiscoverEndpoints), string(config.DiscoverNone)},
	"config.Mode":             {string(config.Single), string(config.Shared)},
	"identify.Method":         methods(),
	"config.LogConfig.level":  config.Levels(),
	"config.LogConfig.format": config.Formats(),
	"audit.Config.level":      {audit.LevelMetadata, audit.LevelNone},
	"audit.Config.onFailure":  {audit.OnFailureBlock, audit.OnFailureIgnore},
}

// constants are what a file says of itself.
var constants = map[string]string{"apiVersion": config.APIVersion, "kind": config.Kind}

// required are the fields that a struct cannot be without.
var required = map[reflect.Type][]string{
	reflect.TypeFor[config.File]():               {"apiVersion", "kind"},
	reflect.TypeFor[config.Configuration]():      {"clusters", "listeners"},
	reflect.TypeFor[config.Cluster]():            {"name", "kubeconfig"},
	reflect.TypeFor[config.Client]():             {"name", "match"},
	reflect.TypeFor[config.Grant]():              {"cluster", "credential", "policy"},
	reflect.TypeFor[config.Listener]():           {"name", "address", "cluster", "mode"},
	reflect.TypeFor[config.ListenerTLS]():        {"certFile", "keyFile"},
	reflect.TypeFor[auth.CredentialConfig]():     {"name"},
	reflect.TypeFor[auth.KubeconfigRef]():        {"path"},
	reflect.TypeFor[auth.CertificateFiles]():     {"certFile", "keyFile"},
	reflect.TypeFor[auth.ExecConfig]():           {"command"},
	reflect.TypeFor[auth.ServiceAccountToken]():  {"credential", "cluster", "namespace", "serviceAccount"},
	reflect.TypeFor[identify.CertificateMatch](): {"commonName"},
	reflect.TypeFor[identify.OIDCMatch]():        {"issuer", "audience", "value"},
	reflect.TypeFor[policy.Config]():             {"name", "rules"},
	reflect.TypeFor[policy.Rule]():               {"verbs"},
}

// atLeastOne are lists that must not be empty.
var atLeastOne = map[string]bool{
	"config.Configuration.clusters":  true,
	"config.Configuration.listeners": true,
	"config.Client.match":            true,
	"policy.Config.rules":            true,
	"policy.Rule.verbs":              true,
}

// oneOf returns the fields of a struct of which exactly one is written.
func oneOf(t reflect.Type) []*schema {
	var names []string
	switch t {
	case reflect.TypeFor[auth.CredentialConfig]():
		names = []string{"tokenFile", "clientCertificate", "exec", "kubeconfig", "serviceAccountToken"}
	case reflect.TypeFor[identify.Match]():
		names = []string{"uid", "unixUser", "tokenSHA256", "certificate", "oidc"}
	}
	var all []*schema
	for _, name := range names {
		all = append(all, &schema{Required: []string{name}})
	}
	return all
}

func methods() []string {
	var all []string
	for _, m := range identify.Methods() {
		all = append(all, string(m))
	}
	return all
}
