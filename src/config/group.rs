//! `[[group]]`: trunks under one name.

use super::problem::Wrong;
use super::reader::Section;
use super::written;
use crate::switchboard::settings::{Group, Member, Trunk};

/// SIP answers upon which the next member is tried, unless the group says otherwise.
const FAILOVER: u16 = 503;

/// Reads the groups. `trunks` are those that are on, `off` the names of those that are not.
pub(super) fn read(sections: Vec<Section<'_>>, trunks: &[Trunk], off: &[String]) -> Vec<Group> {
    let mut taken: Vec<(String, usize)> = Vec::new();
    let read = |mut section: Section<'_>| {
        let name = section.parsed("name", written::name);
        section.need("name", "give it a name by which Dial chooses it");
        if let Some(name) = &name {
            if trunks.iter().any(|trunk| trunk.name == name.value) || off.contains(&name.value) {
                name.place.wrong(format!("{:?} is the name of a trunk", name.value), "give it another name");
            }
            if let Some((_, line)) = taken.iter().find(|(before, _)| *before == name.value) {
                name.place
                    .wrong(format!("{:?} is the name of the one at line {line} too", name.value), "give each its own");
            }
            taken.push((name.value.clone(), name.place.line()));
        }
        let codes = section.list("failover", code);
        section.need("member", "write [[group.member]] with a trunk each");
        let members = section.sections("member");
        let members: Vec<_> = members.into_iter().filter_map(|section| member(section, trunks, off)).collect();
        for (n, (member, place)) in members.iter().enumerate() {
            if member.is_some()
                && members[..n].iter().any(|(before, _)| before.map(|b| b.trunk) == member.map(|m| m.trunk))
            {
                place.wrong("is a member already", "name each trunk once");
            }
        }
        let members: Vec<_> = members.into_iter().filter_map(|(member, _)| member).collect();
        if members.is_empty() && section.has("member") {
            section
                .place
                .wrong("has no trunk that is on", "set enabled = true in one of its profiles, or remove the group");
        }
        section.done();
        let failover = codes.map_or_else(|| vec![FAILOVER], |codes| codes.into_iter().map(|code| code.value).collect());
        Some(Group { name: name?.value, members, failover })
    };
    sections.into_iter().filter_map(read).collect()
}

/// A member, `None` in its place when its trunk is off; and where its trunk is named.
fn member<'a>(
    mut section: Section<'a>,
    trunks: &[Trunk],
    off: &[String],
) -> Option<(Option<Member>, super::reader::Place<'a>)> {
    let trunk = section.parsed("trunk", written::name);
    section.need("trunk", "name a trunk: a profile's file without .toml");
    let priority = section.number("priority", 0..=65_535);
    let weight = section.number("weight", 0..=65_535);
    section.done();
    let trunk = trunk?;
    let number = trunks.iter().position(|known| known.name == trunk.value);
    if number.is_none() && !off.contains(&trunk.value) {
        let known = trunks.iter().map(|trunk| trunk.name.as_str()).collect::<Vec<_>>().join(", ");
        trunk.place.wrong(format!("{:?} is not a trunk", trunk.value), format!("write one of: {known}"));
        return None;
    }
    let member = number.map(|number| Member {
        trunk: number,
        priority: priority.map_or(1, |found| found.value as u16),
        weight: weight.map_or(1, |found| found.value as u32),
    });
    Some((member, trunk.place))
}

fn code(text: &str) -> Result<u16, Wrong> {
    let code = text.parse().ok().filter(|code| (400..700).contains(code));
    code.ok_or_else(|| Wrong::new("is not a final answer of SIP", "write it as \"503\", 400 to 699"))
}
