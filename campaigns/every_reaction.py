"""All reactions in one table: importing a subject's module registers what it does."""

from campaigns import referral_reactions
from campaigns.reactions import reactions

SUBJECTS = (referral_reactions,)
table = reactions.table
