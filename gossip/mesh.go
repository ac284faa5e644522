package gossip

import _ "github.com/hashicorp/memberlist" // Membership and transport.
