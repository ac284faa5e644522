package lab

import (
	"context"
	"errors"
	"net/http"
)

const rbacGroup = "rbac.authorization.k8s.io"

// BrokerUser is the user name of the service account of CreateBroker.
const BrokerUser = "system:serviceaccount:default:broker"

// CreateBroker creates the service account broker in the namespace default,
// which may impersonate users and groups and nothing else, and returns a token
// of it that holds for an hour or longer.
func (l *Lab) CreateBroker(ctx context.Context) (token string, err error) {
	if err := l.CreateServiceAccount(ctx, "broker"); err != nil {
		return "", err
	}
	err = l.Create(ctx, "/apis/"+rbacGroup+"/v1/clusterroles", object{
		"metadata": object{"name": "broker"},
		"rules":    []object{{"apiGroups": []string{""}, "resources": []string{"users", "groups"}, "verbs": []string{"impersonate"}}},
	})
	if err != nil {
		return "", err
	}
	if err := l.bind(ctx, "broker", serviceAccount("broker")); err != nil {
		return "", err
	}
	return l.serviceAccountToken(ctx, "broker")
}

// CreateServiceAccount creates a service account in the namespace default and
// grants it cluster roles in all namespaces.
func (l *Lab) CreateServiceAccount(ctx context.Context, name string, clusterRoles ...string) error {
	err := l.Create(ctx, "/api/v1/namespaces/default/serviceaccounts", object{"metadata": object{"name": name}})
	if err != nil {
		return err
	}
	for _, role := range clusterRoles {
		if err := l.bind(ctx, role, serviceAccount(name)); err != nil {
			return err
		}
	}
	return nil
}

// BindGroup grants a cluster role to a group in all namespaces. Which roles
// grant something, see User.ClusterRoles.
func (l *Lab) BindGroup(ctx context.Context, group, clusterRole string) error {
	return l.bind(ctx, clusterRole, subject{APIGroup: rbacGroup, Kind: "Group", Name: group})
}

// subject is whom a role is granted to.
type subject struct {
	APIGroup  string `json:"apiGroup,omitempty"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

func serviceAccount(name string) subject {
	return subject{Kind: "ServiceAccount", Namespace: "default", Name: name}
}

// bind grants a cluster role to a subject in all namespaces.
func (l *Lab) bind(ctx context.Context, role string, to subject) error {
	return l.Create(ctx, "/apis/"+rbacGroup+"/v1/clusterrolebindings", object{
		"metadata": object{"name": "lab:" + to.Kind + ":" + to.Name + ":" + role},
		"roleRef":  object{"apiGroup": rbacGroup, "kind": "ClusterRole", "name": role},
		"subjects": []subject{to},
	})
}

// serviceAccountToken asks for a token of a service account that may not be
// known to every server yet.
func (l *Lab) serviceAccountToken(ctx context.Context, name string) (string, error) {
	request := object{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": object{"expirationSeconds": 3600 * 4}}
	for {
		var answer struct{ Status struct{ Token string } }
		err := l.Do(ctx, http.MethodPost, "/api/v1/namespaces/default/serviceaccounts/"+name+"/token", request, &answer)
		var status *StatusError
		if err == nil || !errors.As(err, &status) || status.Code != http.StatusNotFound || pause(ctx, pollInterval) != nil {
			return answer.Status.Token, err
		}
	}
}
