# Makes one cluster of the servers valkey-0 to valkey-(CLUSTER_SIZE - 1), or brings them together again after all of them
# were away: each then has another address, and knows only those that the others had.
set -e
port=${PORT:-6379}
nodes=""
number=0
while [ "$number" -lt "$CLUSTER_SIZE" ]; do
  address=$(getent hosts "valkey-$number.valkey" | cut -d' ' -f1)
  test -n "$address" || { echo "valkey-$number.valkey: no address; do all servers run?" >&2; exit 1; }
  nodes="$nodes $address"
  number=$((number + 1))
done
first=$(echo $nodes | cut -d' ' -f1)
if valkey-cli -h "$first" -p "$port" CLUSTER INFO | grep -q '^cluster_slots_assigned:0'; then
  valkey-cli --cluster create $(for node in $nodes; do echo "$node:$port"; done) --cluster-replicas 1 --cluster-yes
else
  # Each to each: of one that has met somebody the others hear only once they have given up its old address.
  for one in $nodes; do
    for other in $nodes; do
      test "$one" = "$other" || valkey-cli -h "$one" -p "$port" CLUSTER MEET "$other" "$port"
    done
  done
fi
