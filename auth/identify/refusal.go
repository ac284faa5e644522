package identify

// The reasons of a [Refusal]: the causes in the details of its answer's Status.
const (
	// ReasonNothingPresented: nothing was presented, and the peer is not one whose
	// user ID could be known.
	ReasonNothingPresented = "no_credential"
	// ReasonUIDUnknown: the peer's user ID was needed and is not known.
	ReasonUIDUnknown = "uid_unknown"
	// ReasonUIDMismatch: a minted token came from another user than it is for.
	ReasonUIDMismatch = "uid_mismatch"
	// ReasonMalformed: what was presented is not a bearer token in form.
	ReasonMalformed = "malformed_credential"
	// ReasonMethodNotAccepted: the listener takes no evidence of this kind.
	ReasonMethodNotAccepted = "method_not_accepted"
	// ReasonInvalidToken: the token is none that is known, or its signature or
	// claims do not hold.
	ReasonInvalidToken = "invalid_token"
	// ReasonInvalidCertificate: the client certificate was not verified.
	ReasonInvalidCertificate = "invalid_certificate"
	// ReasonExpired: the token or certificate holds no more, or not yet.
	ReasonExpired = "expired"
	// ReasonUnknownClient: the evidence holds and belongs to no client.
	ReasonUnknownClient = "unknown_client"
	// ReasonConflict: the evidence belongs to more than one client.
	ReasonConflict = "conflict"
	// ReasonIssuerUnavailable: the keys of a token's issuer cannot be had.
	ReasonIssuerUnavailable = "issuer_unavailable"
)

// Refusal is why nobody was recognised. Its answer is 401, whatever the reason:
// what cannot be verified is not let in, and the API server answers so too when
// it cannot reach an issuer.
type Refusal struct {
	// Reason is one of the Reason constants.
	Reason string

	// Message tells the client what is wrong and what to do. It holds nothing
	// secret, and names no client.
	Message string

	// Err is the underlying cause, for the operator's log and not for the
	// client; often nil. It holds nothing of what the client presented.
	Err error
}

// Error returns the message.
func (r *Refusal) Error() string { return r.Message }

// Unwrap returns the underlying cause.
func (r *Refusal) Unwrap() error { return r.Err }

func refuse(reason, message string) *Refusal { return &Refusal{Reason: reason, Message: message} }
